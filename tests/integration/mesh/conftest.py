"""One real edge with real upstreams for all tests of the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from mesh.pki.files import read_identity
from tests.support.issuer import Issuer
from tests.support.real_edge import RealEdge
from tests.support.upstreams import Upstreams

MEMBERS = (
    ("identity", "identity", "stable", 20),
    ("orchestrator", "orchestrator", "stable", 22),
    ("memory", "memory", "stable", 23),
    ("gateway", "gateway", "stable", 25),
    ("xds", "xds", "stable", 15),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        """The reason in google.rpc.ErrorInfo."""
        return next(d["reason"] for d in self.body["details"] if d["@type"].endswith("ErrorInfo"))


@dataclass(slots=True)
class Edge:
    """What tests use: the edge, its upstreams, an issuer, an HTTP client and a gRPC channel."""

    real: RealEdge
    upstreams: Upstreams
    issuer: Issuer
    http: aiohttp.ClientSession
    channel: grpc.aio.Channel

    async def call(
        self, verb: str, path: str, *, token: str = "", headers: dict[str, str] | None = None, **body: Any
    ) -> Answer:
        """Call by HTTP."""
        sent = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        async with self.http.request(verb, self.real.url + path, headers=sent, **body) as answer:
            kind = answer.headers.get("content-type", "")
            content = await (answer.json() if "json" in kind else answer.text())
            return Answer(answer.status, content, {k.lower(): v for k, v in answer.headers.items()})

    def channel_as(self, workload: str, target_workload: str, offset: int) -> grpc.aio.Channel:
        """A channel that shows a workload's certificate, past the edge."""
        own = read_identity(self.real.home / "pki" / workload)
        return grpc.aio.secure_channel(
            self.real.address(offset),
            grpc.ssl_channel_credentials(own.ca_pem, own.key_pem, own.chain_pem),
            options=(("grpc.ssl_target_name_override", f"{target_workload}.soma"),),
        )


@pytest.fixture(scope="session")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """Start everything once; tests that change the world put it back."""
    real = RealEdge(tmp_path_factory.mktemp("edge"))
    real.prepare()
    issuer = Issuer()
    upstreams = Upstreams(real.home / "pki", issuer)
    for process, workload, _version, offset in MEMBERS:
        if workload != "xds":
            await upstreams.start(process, workload, real.address(offset))
    real.members(MEMBERS)
    try:
        real.start_control_plane()
        real.start_envoy()
        await real.until("/v1/sessions/ses_1", 200, token=issuer.token("sessions.read"))
        credentials = grpc.ssl_channel_credentials(real.ca)
        async with aiohttp.ClientSession() as http, grpc.aio.secure_channel(real.tls, credentials) as channel:
            yield Edge(real, upstreams, issuer, http, channel)
    finally:
        real.stop()
        await upstreams.stop_all()
