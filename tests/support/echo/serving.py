"""Processes that serve echo: real certificates, a real port, the whole chain."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh.runtime.authentication import TokenVerifier
from mesh.runtime.context import Principal
from mesh.runtime.errors import Unauthenticated
from mesh.runtime.process import Process, serve_until_stopped
from mesh.runtime.settings import ProcessSettings
from tests.support.bundles import ALLOW_ALL, SignedPolicy
from tests.support.echo.contract import SERVICE, modules
from tests.support.echo.servicer import Echo
from tests.support.ports import free_port

pb, pb_grpc = modules()
POLICY = f"""
[[allow]]
callers = ["gateway", "orchestrator", "edge"]
methods = ["{SERVICE}/*"]

[[allow]]
callers = ["operator"]
methods = ["soma.mesh.v1.Introspection/*"]
"""


class TokenTable:
    """A verifier over a table: `mesh.trust` has its own tests, these are about who asks it and when."""

    def __init__(self) -> None:
        self.known = {
            "reader": Principal("usr_r", "user", "ten_a", frozenset({"echo.read"}), "tok_1"),
            "writer": Principal("usr_w", "user", "ten_a", frozenset({"echo.read", "echo.write"}), "tok_2"),
            "homeless": Principal("usr_h", "user", "", frozenset({"echo.read"}), "tok_3"),
        }

    def verify(self, token: str) -> Principal:
        try:
            return self.known[token]
        except KeyError:
            raise Unauthenticated("TOKEN_INVALID", "the token is not valid") from None


@dataclass(frozen=True, slots=True)
class Served:
    """A running echo process."""

    process: Process
    echo: Echo
    policy: SignedPolicy
    target: str
    metrics: str

    async def stopped(self) -> None:
        """Ask it to stop and wait until it did."""
        self.process.stop.request()
        await self.ended.wait()

    ended: asyncio.Event


def settings_for(pki: Path, workload: str, **more: Any) -> ProcessSettings:
    """Return settings on free ports, with the test's mesh policy."""
    policy = pki / "test-authorization.toml"
    policy.write_text(POLICY, encoding="utf-8")
    given: dict[str, Any] = {
        "process": workload,
        "workload": workload,
        "listen": f"127.0.0.1:{free_port()}",
        "metrics_listen": f"127.0.0.1:{free_port()}",
        "pki_dir": pki / workload,
        "authorization_file": policy,
    }
    return ProcessSettings(**(given | more))


@contextlib.asynccontextmanager
async def serving(
    pki: Path,
    workload: str = "memory",
    *,
    peers: dict[str, str] | None = None,
    verifier: TokenVerifier | None = None,
    servicer: Any = None,
    **more: Any,
) -> AsyncIterator[Served]:
    """Run a process that serves echo until the block ends; by default with a table for tokens."""
    settings = settings_for(pki, workload, peers=peers or {}, **more)
    echo, policy = Echo(), SignedPolicy(pki)
    policy.put(ALLOW_ALL)
    process = Process(settings)

    async def build(process: Process) -> None:
        if peers:
            echo.peer = pb_grpc.EchoStub(process.channel(next(iter(peers))))
        process.authenticate_with(verifier or TokenTable())
        process.decide_with(policy.decisions)
        process.serve(
            pb_grpc.add_EchoServicer_to_server, servicer or echo, service=SERVICE, raw_responses={"ReciteRaw"}
        )

    ended = asyncio.Event()
    running = asyncio.ensure_future(serve_until_stopped(process, build))
    running.add_done_callback(lambda _: ended.set())
    while not process.health.ready:
        if running.done():
            running.result()
        await asyncio.sleep(0.01)
    try:
        yield Served(
            process=process,
            echo=echo,
            policy=policy,
            target=f"ipv4:{settings.listen}",
            metrics=f"http://{settings.metrics_listen}",
            ended=ended,
        )
    finally:
        process.stop.request()
        await running
