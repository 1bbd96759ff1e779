"""Without the policy service every service decides until its bundle is stale, then refuses, then recovers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping

import aiohttp
import grpc
import grpc.aio
from soma.orchestrator.v1 import service_pb2 as turns_pb
from soma.orchestrator.v1 import service_pb2_grpc as turns_rpc

from mesh.policy import catalogue
from mesh.runtime.ids import new_id
from mesh.runtime.status import read
from mesh.stack.settings import StackSettings
from tests.integration.policy.test_every_service import DECIDE_THEMSELVES, METHODS, SERVICES
from tests.support.identity import channel_as, failure
from tests.support.methods import Method
from tests.support.stack import OwnStacks, soma
from tests.support.tokens import Metadata, token_for

LIFE = 6.0
SHORT = {"SOMA_POLICY_VALID_SECONDS": str(LIFE), "SOMA_POLICY_SIGN_EVERY_SECONDS": "1"}
UNAVAILABLE = "POLICY_UNAVAILABLE"
SECONDS = 20.0
DECIDED = tuple(method for method in METHODS if str(method) not in DECIDE_THEMSELVES)
OTHERS = tuple(method for method in DECIDED if method.workload != "policy")
ONE_EACH = tuple(next(method for method in DECIDED if method.workload == name) for name in SERVICES)
Channels = Mapping[str, grpc.aio.Channel]


async def reason_of(method: Method, channels: Channels, token: Metadata) -> str:
    """Why a call is refused; empty where it is answered."""
    try:
        await method.call(channels[method.workload], token)
    except grpc.aio.AioRpcError as error:
        return read(error).reason or error.code().name
    return ""


async def until(methods: Iterable[Method], channels: Channels, token: Metadata, *, refused: bool) -> None:
    """Wait until the policy's absence refuses all of these, or none of them."""
    async with asyncio.timeout(SECONDS):
        for method in methods:
            while (await reason_of(method, channels, token) == UNAVAILABLE) is not refused:  # noqa: ASYNC110 - no service tells of its bundle
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def opened(settings: StackSettings) -> AsyncIterator[Channels]:
    """The edge's channel to each service."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(channel_as(settings, "edge", to=name)) for name in SERVICES
        }


async def listed(settings: StackSettings, token: Metadata) -> int:
    """The status of a list of memories by way of the edge."""
    url = f"http://{settings.ports.address('edge-http')}"
    async with (
        aiohttp.ClientSession(base_url=url, headers=dict(token)) as http,
        http.get("/v1/memories") as answer,
    ):
        return answer.status


async def test_a_stale_bundle_refuses_everywhere_until_a_fresh_one_comes(own: OwnStacks) -> None:
    settings = own.settings()
    await soma(settings, "up", "--only", ",".join(("envoy", "xds", *SERVICES)), extra=SHORT)
    token = await token_for(settings, new_id("tnt"), *catalogue.scopes())
    async with opened(settings) as channels:
        assert await listed(settings, token) == 200
        await soma(settings, "down", "policy")
        begin = time.monotonic()
        for method in (one for one in ONE_EACH if one.workload != "policy"):
            assert await reason_of(method, channels, token) != UNAVAILABLE, str(method)
        assert time.monotonic() - begin < LIFE - 2, "the machine was too slow to look in time"

        await until(OTHERS, channels, token, refused=True)
        sessions = turns_rpc.SessionsStub(channels["orchestrator"])
        told = await failure(sessions.CreateSession(turns_pb.CreateSessionRequest(), metadata=token))
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, UNAVAILABLE)
        assert await listed(settings, token) == 503

        await soma(settings, "up", "--only", "policy")
        await until(ONE_EACH, channels, token, refused=False)
        async with asyncio.timeout(SECONDS):
            while await listed(settings, token) != 200:  # noqa: ASYNC110 - the edge tells nobody
                await asyncio.sleep(0.1)
