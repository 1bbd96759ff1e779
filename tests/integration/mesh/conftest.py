"""One real edge with real upstreams for all tests of the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.support.issuer import Issuer
from tests.support.real_edge import RealEdge
from tests.support.upstreams import Upstreams

MEMBERS = (
    ("identity", "identity", "stable", 20),
    ("orchestrator", "orchestrator", "stable", 22),
    ("memory", "memory", "stable", 23),
    ("gateway", "gateway", "stable", 25),
)


@dataclass(slots=True)
class Edge:
    """What tests use: the edge, its upstreams, an issuer, and a client."""

    real: RealEdge
    upstreams: Upstreams
    issuer: Issuer
    http: aiohttp.ClientSession

    async def call(
        self, verb: str, path: str, *, token: str = "", headers: dict[str, str] | None = None, **body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """Call by HTTP; give status, decoded JSON (or text) and headers."""
        sent = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        async with self.http.request(verb, self.real.url + path, headers=sent, **body) as answer:
            kind = answer.headers.get("content-type", "")
            content = await (answer.json() if "json" in kind else answer.text())
            return answer.status, content, dict(answer.headers)


@pytest.fixture(scope="session")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    real = RealEdge(tmp_path_factory.mktemp("edge"))
    real.prepare()
    issuer = Issuer()
    upstreams = Upstreams(real.home / "pki", issuer)
    for process, workload, _version, offset in MEMBERS:
        await upstreams.start(process, workload, real.address(offset))
    real.members(MEMBERS)
    real.start_control_plane()
    real.start_envoy()
    try:
        await real.until("/v1/sessions/ses_1", 200, token=issuer.token("sessions.read"))
        async with aiohttp.ClientSession() as http:
            yield Edge(real, upstreams, issuer, http)
    finally:
        real.stop()
        await upstreams.stop_all()
