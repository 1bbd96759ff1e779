"""Starts a vector server of a test's own, or uses the Qdrant that the environment names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from qdrant_client import AsyncQdrantClient

ROOT = Path(__file__).resolve().parents[3]
KEY = "a key of the tests"
FIRST_PORT, LAST_PORT = 26_000, 26_999
START_SECONDS = 20.0


def free_port() -> int:
    """Give a port below the ephemeral ones that nobody listens on."""
    for port in range(FIRST_PORT + os.getpid() % 500, LAST_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@dataclass(kw_only=True)
class Server:
    """A vector server on a data folder."""

    data: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start and wait until it listens."""
        self.process = await self.spawn(self.port)
        async with asyncio.timeout(START_SECONDS):
            while True:
                assert self.process.returncode is None, await self.said(self.process)
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def spawn(self, port: int, *, key: str = KEY, listen: str = "") -> asyncio.subprocess.Process:
        """Start a process on the data folder without waiting."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mesh.stack.vectors"),
            *("--listen", listen or f"127.0.0.1:{port}", "--data", str(self.data)),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "SOMA_QDRANT_API_KEY": key},
            stderr=asyncio.subprocess.PIPE,
        )

    async def said(self, process: asyncio.subprocess.Process) -> str:
        """Give what a process that ended said."""
        _, err = await process.communicate()
        return err.decode()

    async def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.kill()
        await self.process.communicate()

    async def stop(self) -> int:
        """Stop in order; give the exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.communicate()
        return self.process.returncode or 0

    @contextlib.asynccontextmanager
    async def client(self, key: str = KEY) -> AsyncIterator[AsyncQdrantClient]:
        """Give Qdrant's own client."""
        async with client_of(f"127.0.0.1:{self.port}", key) as client:
            yield client


@contextlib.asynccontextmanager
async def client_of(address: str, key: str) -> AsyncIterator[AsyncQdrantClient]:
    """Give Qdrant's own client for an address."""
    scheme, _, place = address.rpartition("://")
    host, _, port = place.rpartition(":")
    client = AsyncQdrantClient(
        host=host,
        grpc_port=int(port),
        prefer_grpc=True,
        https=scheme == "https",
        check_compatibility=False,
        headers={"api-key": key} if key else None,
        # Its own connection: a shared one would still be pausing after the server before died.
        grpc_options={"grpc.use_local_subchannel_pool": 1},
    )
    try:
        yield client
    finally:
        await client.close()
