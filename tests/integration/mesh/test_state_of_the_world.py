"""The other dialect of ADS on a real Envoy: the same world, and changes as quick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.integration.mesh.conftest import MEMBERS
from tests.support.issuer import Issuer
from tests.support.real_edge import RealEdge
from tests.support.upstreams import Upstreams

SECOND = ("orchestrator-2", "orchestrator", "stable", 40)
QUICK_SECONDS = 5.0


@pytest.fixture
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RealEdge, Upstreams, str]]:
    real = RealEdge(tmp_path_factory.mktemp("sotw"), dialect="GRPC")
    real.prepare()
    issuer = Issuer()
    upstreams = Upstreams(real.home / "pki", issuer)
    for process, workload, _version, offset in MEMBERS:
        if workload != "xds":
            await upstreams.start(process, workload, real.address(offset))
    real.members(MEMBERS)
    token = issuer.token("sessions.read")
    try:
        real.start_control_plane()
        real.start_envoy()
        await real.until("/v1/sessions/ses_1", 200, token=token)
        yield real, upstreams, token
    finally:
        real.stop()
        await upstreams.stop_all()


async def test_endpoints_change_and_the_control_plane_returns(
    edge: tuple[RealEdge, Upstreams, str],
) -> None:
    real, upstreams, token = edge
    await upstreams.start(SECOND[0], SECOND[1], real.address(SECOND[3]))
    real.members([*MEMBERS, SECOND])
    await _until_served_by(real, token, SECOND[0])
    await upstreams.stop("orchestrator")
    real.members([m for m in (*MEMBERS, SECOND) if m[0] != "orchestrator"])
    real.kill("xds")
    real.start_control_plane()
    await _until_served_by(real, token, SECOND[0])
    assert "refused" not in real.log("xds")


async def _until_served_by(real: RealEdge, token: str, process: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    url = f"{real.url}/v1/sessions/ses_1"
    async with aiohttp.ClientSession(headers=headers) as http, asyncio.timeout(QUICK_SECONDS):
        while True:
            async with http.get(url) as answer:
                body = await answer.json()
            if body.get("display_name") == process:
                return
            await asyncio.sleep(0.05)
