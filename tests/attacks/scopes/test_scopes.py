"""No method answers without a token, nor with one that lacks its scope; with the scope it does.

Every method of the contracts, at each of its JSON paths, at `POST /package.Service/Method` and by gRPC:
made from the descriptors, so that a new method is attacked from its first day.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import grpc.aio
import pytest
from soma.options.v1 import options_pb2

from mesh.policy import catalogue
from tests.attacks.calls import Rpc, by_grpc, by_json, every_rpc, with_token
from tests.attacks.doors import Outcome, edge_channel
from tests.attacks.tokens.corpus import parts
from tests.support.stack import Stack

AT_ONCE = 16
FACADE = "soma.gateway.v1.OpenAI"
"""It passes the caller's token on: what it asks in the caller's name asks for scopes of its own."""
Call = Callable[[str], Awaitable[Outcome]]


@pytest.fixture(scope="module")
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    async with edge_channel(stack) as opened:
        yield opened


@pytest.fixture(scope="module")
async def tokens(stack: Stack) -> dict[str, str]:
    """By scope a token with this one, and under `-scope` one with all but this one; of a fresh tenant."""
    tenant = await stack.new_tenant()
    _, claims, _ = parts(tenant.api_key)
    every = catalogue.scopes()
    held = {scope: {scope} for scope in every} | {f"-{scope}": every - {scope} for scope in every}
    held["nothing"] = frozenset()
    now = int(time.time())
    base = {**claims, "exp": now + 3600}
    payloads = [
        json.dumps({**base, "jti": f"tok_{uuid.uuid4().hex}", "scope": " ".join(sorted(scopes))})
        for scopes in held.values()
    ]
    signed = await stack.sign_raw([({}, payload) for payload in payloads])
    return dict(zip(held, signed, strict=True))


def ways(rpc: Rpc, stack: Stack, http: aiohttp.ClientSession, channel: grpc.aio.Channel) -> dict[str, Call]:
    """Every way through the edge to a method, with an empty request."""

    def json_way(index: int) -> Call:
        binding = (*rpc.bindings, rpc.mapped)[index]

        async def call(token: str) -> Outcome:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            return await by_json(http, stack.edge_url, rpc, binding, headers=headers)

        return call

    async def by_grpc_way(token: str) -> Outcome:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        return await by_grpc(channel, rpc, rpc.request(), metadata)

    found = {
        f"{binding.verb} {binding.template}": json_way(index)
        for index, binding in enumerate((*rpc.bindings, rpc.mapped))
    }
    return {**found, "gRPC": by_grpc_way}


async def storm(calls: dict[str, tuple[Call, str]], judge: Callable[[Outcome], bool]) -> list[str]:
    """Make all calls; give those whose outcome is not as it must be."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, call: Call, token: str) -> str:
        async with gate:
            outcome = await call(token)
        return "" if judge(outcome) else f"{name}: {outcome}"[:400]

    done = await asyncio.gather(*(one(name, call, token) for name, (call, token) in calls.items()))
    return [found for found in done if found]


async def test_no_method_answers_without_a_token(
    stack: Stack, http: aiohttp.ClientSession, channel: grpc.aio.Channel
) -> None:
    calls = {
        f"{rpc} by {way}": (call, "")
        for rpc in with_token()
        for way, call in ways(rpc, stack, http, channel).items()
    }
    wrong = await storm(
        calls, lambda got: (got.status, got.reason) in {(401, "TOKEN_MISSING"), (401, "invalid_api_key")}
    )
    assert not wrong, "\n".join(wrong)
    assert len(calls) >= 2 * len(with_token()) > 60


async def test_no_method_answers_a_token_that_lacks_its_scope(
    stack: Stack, http: aiohttp.ClientSession, channel: grpc.aio.Channel, tokens: dict[str, str]
) -> None:
    calls = {
        f"{rpc} with {name} by {way}": (call, tokens[name])
        for rpc in with_token()
        for name in (f"-{rpc.scope}", "nothing")
        for way, call in ways(rpc, stack, http, channel).items()
    }
    wrong = await storm(
        calls, lambda got: got.status == 403 and got.reason in {"SCOPE_MISSING", "insufficient_scope"}
    )
    assert not wrong, "\n".join(wrong)


async def test_each_wrong_scope_alone_is_not_enough(
    stack: Stack, channel: grpc.aio.Channel, tokens: dict[str, str]
) -> None:
    """Every method with every single scope that is not its own, at the service's side of things too."""

    def call_of(rpc: Rpc) -> Call:
        async def call(token: str) -> Outcome:
            return await by_grpc(channel, rpc, rpc.request(), (("authorization", f"Bearer {token}"),))

        return call

    scopes = sorted(catalogue.scopes())
    calls = {
        f"{rpc} with {scope}": (call_of(rpc), tokens[scope])
        for rpc in with_token()
        for scope in scopes
        if scope != rpc.scope
    }
    wrong = await storm(calls, lambda got: (got.status, got.reason) == (403, "SCOPE_MISSING"))
    assert not wrong, "\n".join(wrong)


async def test_with_its_scope_alone_no_method_asks_for_another(
    stack: Stack, http: aiohttp.ClientSession, channel: grpc.aio.Channel, tokens: dict[str, str]
) -> None:
    calls = {
        f"{rpc} by {way}": (call, tokens[rpc.scope])
        for rpc in with_token()
        if rpc.descriptor.containing_service.full_name != FACADE
        for way, call in ways(rpc, stack, http, channel).items()
    }
    wrong = await storm(calls, lambda got: got.reason != "SCOPE_MISSING" and got.status not in {401, 500})
    assert not wrong, "\n".join(wrong)


async def test_what_is_for_workloads_is_nowhere_at_the_edge(
    stack: Stack, http: aiohttp.ClientSession, channel: grpc.aio.Channel, tokens: dict[str, str]
) -> None:
    calls = {
        f"{rpc} with {name or 'no token'} by {way}": (call, tokens.get(name, stack.api_key if name else ""))
        for rpc in every_rpc()
        if rpc.access == options_pb2.ACCESS_WORKLOAD
        for name in ("", "nothing", "all")
        for way, call in ways(rpc, stack, http, channel).items()
    }
    wrong = await storm(
        calls, lambda got: (got.status, got.reason) in {(404, "ROUTE_NOT_FOUND"), (401, "TOKEN_MISSING")}
    )
    assert not wrong, "\n".join(wrong)
    assert calls
