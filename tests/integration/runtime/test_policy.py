"""Every call with a token is decided: by a signed bundle while one is in force, and refused without."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mesh.policy import Condition, Effect, Operator, Rule
from mesh.runtime.errors import ConfigurationError
from mesh.runtime.process import Process, serve_until_stopped
from mesh.runtime.status import RemoteFailure, read
from tests.support.bundles import ALLOW_ALL
from tests.support.echo.contract import SERVICE
from tests.support.echo.servicer import Echo
from tests.support.echo.serving import Served, TokenTable, pb, pb_grpc, serving, settings_for

WRITER = (("authorization", "Bearer writer"),)
NO_WRITES = Rule(id="no-writes", effect=Effect.DENY, actions=("echo.write",), tenants=frozenset({"ten_a"}))
NOT_FROM_GATEWAY = Rule(
    id="not-from-gateway",
    effect=Effect.DENY,
    actions=("*",),
    conditions=(Condition(attribute="request.caller", operator=Operator.IN, values=("gateway",)),),
)


@pytest.fixture
async def served(pki: Path) -> AsyncIterator[Served]:
    """An echo of the test's own: its policy changes."""
    async with serving(pki) as running:
        yield running


async def failure(call: Any) -> RemoteFailure:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return read(raised.value)


async def test_what_the_policy_denies_is_refused_with_the_decision(served: Served, stub_to: Any) -> None:
    stub = stub_to(served)
    await stub.Say(pb.SayRequest(text="hi"), metadata=WRITER)
    version = served.policy.put(ALLOW_ALL, NO_WRITES)
    told = await failure(stub.Say(pb.SayRequest(text="hi"), metadata=WRITER))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "POLICY_DENIED")
    assert told.metadata["decision_id"].startswith("dec_")
    assert told.metadata["action"] == "echo.write"
    assert (told.metadata["rule_id"], told.metadata["policy_version"]) == ("no-writes", str(version))
    assert (await stub.Hear(pb.HearRequest(what="ok"), metadata=WRITER)).text == "ok"


async def test_a_denied_request_is_not_even_read(served: Served, stub_to: Any) -> None:
    served.policy.put(ALLOW_ALL, NO_WRITES)
    told = await failure(stub_to(served).Say(pb.SayRequest(), metadata=WRITER))
    assert told.reason == "POLICY_DENIED"


async def test_streams_are_decided_before_their_first_message(served: Served, stub_to: Any) -> None:
    served.policy.put(ALLOW_ALL, NOT_FROM_GATEWAY)
    told = await failure(stub_to(served).Recite(pb.ReciteRequest(count=3), metadata=WRITER).read())
    assert told.metadata["rule_id"] == "not-from-gateway"
    words = stub_to(served, "orchestrator").Recite(pb.ReciteRequest(count=3), metadata=WRITER)
    assert [word.text async for word in words] == ["word 0", "word 1", "word 2"]


async def test_methods_without_a_token_are_not_decided(served: Served, stub_to: Any) -> None:
    served.policy.put()
    assert await stub_to(served).Wave(pb.WaveRequest()) == pb.WaveResponse()


async def test_an_expired_bundle_refuses_until_a_fresh_one_comes(served: Served, stub_to: Any) -> None:
    stub = stub_to(served)
    served.policy.put(ALLOW_ALL, seconds=0.3)
    await stub.Hear(pb.HearRequest(what="ok"), metadata=WRITER)
    await asyncio.sleep(0.31)
    told = await failure(stub.Hear(pb.HearRequest(what="ok"), metadata=WRITER))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "POLICY_UNAVAILABLE")
    assert told.retry_after == 1.0
    served.policy.put(ALLOW_ALL)
    await stub.Hear(pb.HearRequest(what="ok"), metadata=WRITER)


@pytest.mark.parametrize("decides_itself", [(), ("Hear",), ("Nothing",)])
async def test_nothing_starts_undecided(pki: Path, decides_itself: tuple[str, ...]) -> None:
    async def build(process: Process) -> None:
        process.authenticate_with(TokenTable())
        process.serve(
            pb_grpc.add_EchoServicer_to_server, Echo(), service=SERVICE, decides_itself=decides_itself
        )

    with pytest.raises(ConfigurationError):
        await serve_until_stopped(Process(settings_for(pki, "memory")), build)
