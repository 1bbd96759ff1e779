"""What the interceptor chain costs: CPU of a server with it against bare grpc.aio, same TLS, same messages.

`python -m tests.bench.interceptors` prints rows `{name, unit, ours, baseline, ratio, spread}` as JSON.
`ours` and `baseline` are microseconds of the server's CPU per call (or per streamed message, over streams
of 250), medians over many short interleaved rounds; `spread` is the distance between the quartiles of the
rounds' ratios divided by their median. The chain authenticates (a real signed token, verified and then
remembered), checks workload, tenant and scope, asks the policy, validates, digests, counts and writes the
access log (to a file). The server of the platform takes calls in by itself (`mesh.runtime.accepting`), which
saves more than the chain costs, so there is a second baseline: that server without a chain. All run on
uvloop with the collector as processes of the platform have it.
CPU is what the scheduler counted for all threads, in nanoseconds. Where the machine is shared, the caches
are too: then the overhead is that of a cold chain.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import uvloop
from soma.identity.v1 import service_pb2

from mesh.pki.folder import PkiFolder
from mesh.runtime import collector, eventloop
from mesh.runtime import logging as process_logging
from mesh.runtime.accepting import AcceptingServer
from mesh.runtime.certificates import Certificates
from mesh.runtime.channels import MeshChannel
from mesh.runtime.server import server_credentials
from mesh.trust.state import TrustState
from mesh.trust.verifier import TokenVerifier
from tests.bench.rows import Bound, Row, emit, paired
from tests.support.echo.contract import modules
from tests.support.echo.serving import POLICY, serving
from tests.support.issuer import Issuer
from tests.support.ports import free_port

pb, pb_grpc = modules()
_ROUNDS: Final = int(os.environ.get("SOMA_BENCH_ROUNDS", "40"))
_CALLS: Final = 400
_AT_ONCE: Final = 8
_STREAMS: Final = 8
_WORDS: Final = 250
_FAR: Final = 4_000_000_000


class PlainEcho(pb_grpc.EchoServicer):  # type: ignore[name-defined,misc]  # generated as it is loaded
    """The handlers of both servers: they know nothing of what is around them."""

    async def Say(self, request: Any, context: Any) -> Any:
        return pb.SayResponse(
            text=request.text, tenant="ten_a", subject="usr_w", request_id="req_1",
            digest=b"0" * 32, caller="gateway", trace_id="0" * 32, call_id="req_1",
        )  # fmt: skip

    async def Hear(self, request: Any, context: Any) -> Any:
        return pb.HearResponse(text=request.what, remaining=-1.0)

    async def Recite(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(request.count):
            yield pb.ReciteResponse(text=f"word {number}")


async def serve(kind: str, pki: Path) -> None:
    """Run one server until it is killed; prints its address and a token for it."""
    if kind == "chain":
        process_logging.configure(process="memory", level="info")
        (pki / "test-authorization.toml").write_text(POLICY, encoding="utf-8")
        issuer = Issuer()
        async with serving(pki, verifier=_verifier(issuer), servicer=PlainEcho()) as served:
            collector.settle()
            print(served.target, issuer.token("echo.read", "echo.write", exp=_FAR), flush=True)
            await asyncio.Event().wait()
    server = grpc.aio.server() if kind == "bare" else AcceptingServer(options=(), most_calls=10_000)
    pb_grpc.add_EchoServicer_to_server(PlainEcho(), server)
    address = f"127.0.0.1:{free_port()}"
    server.add_secure_port(address, server_credentials(Certificates(pki / "memory")))
    await server.start()
    collector.settle()
    print(f"ipv4:{address}", Issuer().token("echo.read", "echo.write", exp=_FAR), flush=True)
    await server.wait_for_termination()


def _verifier(issuer: Issuer) -> TokenVerifier:
    state = TrustState(wall=time.time, monotonic=time.monotonic, stale_seconds=3600.0)
    announced = service_pb2.WatchTrustResponse(version=1, reset=True)
    announced.keys.add(id="k1", jwk=json.dumps(issuer.key.as_dict(private=False))).expire_time.seconds = _FAR
    state.accept(announced)
    return TokenVerifier(state)


class Server:
    """A server process and a stub to it."""

    def __init__(self, kind: str, pki: Path, log: Path) -> None:
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.interceptors", kind, str(pki)],
                stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ,
            )  # fmt: skip
        if self._process.stdout is None:
            raise RuntimeError("no output of the server")
        target, token = self._process.stdout.readline().split()
        self.metadata = (("authorization", f"Bearer {token}"),)
        self._tasks = Path(f"/proc/{self._process.pid}/task")
        channel = MeshChannel(
            target=target,
            workload="memory",
            certificates=Certificates(pki / "gateway"),
            max_message_bytes=1 << 22,
        )
        self.stub = pb_grpc.EchoStub(channel)

    def cpu(self) -> float:
        """Seconds of CPU so far, by the scheduler's account of every thread."""
        spent = 0
        for task in self._tasks.iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended
                spent += int((task / "schedstat").read_text("ascii").split()[0])
        return spent / 1e9

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


async def calls(server: Server, make: Callable[[], Awaitable[Any]]) -> float:
    """Return microseconds of the server's CPU per call."""

    async def one_after_another() -> None:
        for _ in range(_CALLS // _AT_ONCE):
            await make()

    begin = server.cpu()
    await asyncio.gather(*(one_after_another() for _ in range(_AT_ONCE)))
    return (server.cpu() - begin) / _CALLS * 1e6


async def unary(server: Server) -> float:
    """Reads."""
    request = pb.HearRequest(what="ok")
    return await calls(server, lambda: server.stub.Hear(request, metadata=server.metadata))


async def mutation(server: Server) -> float:
    """Mutations: validation and the digest of the request as well."""
    request = pb.SayRequest(request_id="req_1", text="hello " * 20, parts=[pb.Part(text="a")])
    return await calls(server, lambda: server.stub.Say(request, metadata=server.metadata))


async def stream(server: Server) -> float:
    """Streamed messages."""

    async def read() -> None:
        async for _ in server.stub.Recite(pb.ReciteRequest(count=_WORDS), metadata=server.metadata):
            pass

    begin = server.cpu()
    await asyncio.gather(*(read() for _ in range(_STREAMS)))
    return (server.cpu() - begin) / (_STREAMS * _WORDS) * 1e6


KINDS: Final = {"unary": (unary, 1.30), "mutation": (mutation, 1.30), "stream message": (stream, 1.20)}


async def measure(rounds: int = _ROUNDS) -> list[Row]:
    """Return the rows."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        PkiFolder(folder / "pki").initialise(now=datetime.now(UTC))
        servers = [_started(kind, folder, stack) for kind in ("chain", "bare", "ours")]
        found = []
        for title, (work, most) in KINDS.items():
            for server in servers:
                await work(server)
            each = [[await work(server) for server in servers] for _ in range(rounds)]
            chain, bare, ours = zip(*each, strict=True)
            what = f"interceptor chain, server CPU per {title}"
            found.append(paired(what, "us", chain, bare, bound=Bound(most, of="ratio")))
            found.append(paired(f"{what}, against our server without it", "us", chain, ours))
        return found


def _started(kind: str, folder: Path, stack: contextlib.ExitStack) -> Server:
    server = Server(kind, folder / "pki", folder / f"{kind}.log")
    stack.callback(server.stop)
    return server


if __name__ == "__main__":
    if len(sys.argv) > 1:
        (uvloop if sys.argv[1] == "bare" else eventloop).run(serve(sys.argv[1], Path(sys.argv[2])))
    else:
        emit(eventloop.run(measure()))
