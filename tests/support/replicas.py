"""More processes of a workload beside the stack's own: to be killed, paused and woken."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.stack.catalogue import BY_NAME
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 40.0


class Replica:
    """One process of a workload, with the workload's own certificate and credentials."""

    def __init__(self, settings: StackSettings, workload: str, **extra: str) -> None:
        """Describe it; nothing runs yet. `extra` are settings (`SOMA_*`) of its own."""
        self.workload = workload
        self.port = free_port()
        self._settings = settings
        self._environment = Environment(settings).of_workload(
            BY_NAME[workload],
            process=f"{workload}-{self.port}",
            listen=self.port,
            metrics=free_port(),
            version="canary",
        ) | {name.upper(): value for name, value in extra.items()}
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it serves and is ready."""
        folder = self._settings.home.root / "log"
        with (folder / f"{self.workload}-{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a test's own child
                [sys.executable, "-m", BY_NAME[self.workload].module],
                cwd=ROOT, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _READY_SECONDS
        async with self.channel("operator") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < deadline:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                await asyncio.sleep(0.1)
        raise AssertionError(f"{self.workload} on {self.port} is not ready")

    def channel(self, caller: str) -> grpc.aio.Channel:
        """Return a channel to it with the certificate of another workload."""
        return mesh_channel(self._settings, caller, self.workload, self.port)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self, number: signal.Signals) -> int:
        """End it by a signal; return its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        return await asyncio.to_thread(process.wait, 20)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended here."""
        return self._process is not None


def mesh_channel(settings: StackSettings, caller: str, workload: str, port: int) -> grpc.aio.Channel:
    """Return an mTLS channel to a workload on this machine, as `caller`."""
    folder = settings.home.pki / caller
    root, key, chain = ((folder / name).read_bytes() for name in ("ca.pem", "key.pem", "cert.pem"))
    credentials = grpc.ssl_channel_credentials(root, key, chain)
    options = (("grpc.ssl_target_name_override", f"{workload}.soma"), ("grpc.use_local_subchannel_pool", 1))
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options)


@contextlib.asynccontextmanager
async def replica(settings: StackSettings, workload: str, **extra: str) -> AsyncIterator[Replica]:
    """Run a replica for the length of a block."""
    one = Replica(settings, workload, **extra)
    try:
        await one.start()
        yield one
    finally:
        if one.runs:
            await one.end(signal.SIGTERM if os.environ.get("COVERAGE_PROCESS_START") else signal.SIGKILL)
