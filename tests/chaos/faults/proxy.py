"""A TCP proxy that can be told to be slow, to break, to swallow, to refuse: the net between two processes.

It works on bytes, so TLS and every protocol pass through it. What it does may change at any time, for the
connections that are open too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum

from mesh.stack.ports import LOOPBACK

CHUNK = 64 * 1024
BACKLOG = 512
HIGH_WATER = 256 * 1024
LINGER_NONE = struct.pack("ii", 1, 0)


class Weather(Enum):
    """What happens between the two."""

    CALM = "calm"
    LATENCY = "latency"
    """Each piece arrives late."""
    RESET = "reset"
    """Open connections are reset, and each new one once it has said something."""
    BLACKHOLE = "blackhole"
    """Connections are taken and nothing passes, in either direction; nothing is closed."""
    REFUSED = "refused"
    """Nobody listens; open connections are reset."""


@dataclass(eq=False, slots=True)
class _Pair:
    """A connection from the client and the one to the server."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None

    def reset(self) -> None:
        """Send RST to both sides."""
        for side in (self.near, self.far):
            if side is None:
                continue
            raw = side.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
            side.transport.abort()


class Proxy:
    """Stands on a port of loopback, before one server."""

    def __init__(self, upstream: str) -> None:
        """Take the server's `host:port`; listen on nothing yet."""
        self._host, _, port = upstream.rpartition(":")
        self._port = int(port)
        self._listen: asyncio.Server | None = None
        self._pairs: dict[_Pair, asyncio.Task[None]] = {}
        self._calm = asyncio.Event()
        self._calm.set()
        self._weather = Weather.CALM
        self._late = 0.0
        self.port = 0
        self.connections = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, upstream: str) -> AsyncIterator[Proxy]:
        """Stand before a server until the block ends."""
        proxy = cls(upstream)
        await proxy._open()
        try:
            yield proxy
        finally:
            await proxy._close()

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"{LOOPBACK}:{self.port}"

    async def become(self, weather: Weather, *, late: float = 0.0) -> None:
        """Change what happens from now on; `late` is each piece's delay in seconds."""
        self._weather, self._late = weather, late
        if weather in (Weather.RESET, Weather.REFUSED):
            self._reset_all()
        if weather is Weather.REFUSED:
            await self._shut()
        elif self._listen is None:
            await self._open()
        if weather is Weather.BLACKHOLE:
            self._calm.clear()
        else:
            self._calm.set()

    async def _open(self) -> None:
        # The port stays the same over a refusal: clients know it.
        self._listen = await asyncio.start_server(
            self._take, LOOPBACK, self.port, backlog=BACKLOG, reuse_address=True
        )
        self.port = self._listen.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._listen is not None:
            self._listen.close()
            self._listen = None

    async def _close(self) -> None:
        await self._shut()
        self._calm.set()
        self._reset_all()
        await asyncio.gather(*self._pairs.values(), return_exceptions=True)

    def _reset_all(self) -> None:
        for pair, task in list(self._pairs.items()):
            pair.reset()
            task.cancel()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        pair, task = _Pair(writer), asyncio.current_task()
        assert task is not None
        self._pairs[pair] = task
        try:
            await self._join(pair, reader)
        except (OSError, asyncio.CancelledError):
            pair.reset()
        finally:
            del self._pairs[pair]
            for side in (pair.near, pair.far):
                if side is not None:
                    side.close()

    async def _join(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        await self._calm.wait()
        if self._weather is Weather.RESET:
            await reader.read(1)
            pair.reset()
            return
        far_reader, pair.far = await asyncio.open_connection(self._host, self._port)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._carry(reader, pair.far))
            both.create_task(self._carry(far_reader, pair.near))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=HIGH_WATER)
        try:
            while piece := await reader.read(CHUNK):
                if self._late:
                    await asyncio.sleep(self._late)
                await self._calm.wait()
                writer.write(piece)
                await writer.drain()
            await self._calm.wait()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()
