"""Each service decides in its own process: every method with a token, over gRPC and as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import aiohttp
import grpc
import grpc.aio
import pytest
from soma.audit.v1.resources_pb2 import AuditRecord
from soma.errors.v1 import errors_pb2
from soma.memory.v1 import service_pb2 as memory_pb
from soma.memory.v1 import service_pb2_grpc as memory_rpc
from soma.orchestrator.v1 import service_pb2 as turns_pb
from soma.orchestrator.v1 import service_pb2_grpc as turns_rpc

from mesh.policy import Effect, Rule, catalogue
from mesh.runtime.ids import new_id
from mesh.runtime.status import read
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from mesh.storage import Database
from tests.integration.policy.test_bundles import installed
from tests.support import stack as stacks
from tests.support.identity import channel_as, failure
from tests.support.methods import Method, with_token
from tests.support.tokens import Metadata, token_for

SERVICES = ("identity", "policy", "orchestrator", "memory", "slm", "gateway", "audit")
METHODS = tuple(with_token())
DECIDE_THEMSELVES = frozenset(
    {
        "soma.audit.v1.Records/GetRecord",
        "soma.gateway.v1.OpenAI/CreateChatCompletion",
        "soma.orchestrator.v1.Sessions/CreateSession",
        "soma.orchestrator.v1.Sessions/DeleteSession",
        "soma.orchestrator.v1.Turns/CancelTurn",
        "soma.orchestrator.v1.Turns/CreateTurn",
        "soma.orchestrator.v1.Turns/StreamTurn",
    }
)
SECONDS = 10.0
Channels = Mapping[str, grpc.aio.Channel]


@pytest.fixture(scope="session")
async def settings() -> StackSettings:
    """The shared stack, all of it."""
    return (await stacks.running()).settings


@pytest.fixture(scope="session")
async def channels(settings: StackSettings) -> AsyncIterator[Channels]:
    """The edge's channel to each service."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(channel_as(settings, "edge", to=name)) for name in SERVICES
        }


@pytest.fixture
async def everything(settings: StackSettings, tenant: str) -> Metadata:
    """A token of the test's tenant that holds every scope."""
    return await token_for(settings, tenant, *catalogue.scopes())


def deny(tenant: str, *actions: str) -> Rule:
    """A rule against a tenant."""
    return Rule(id=f"stop-{tenant}", effect=Effect.DENY, actions=actions, tenants=frozenset({tenant}))


async def until_refused(make: Callable[[], Awaitable[object]]) -> None:
    """Wait until a call is denied: a bundle takes a moment to every process."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await make()
            except grpc.aio.AioRpcError as error:
                if read(error).reason == "POLICY_DENIED":
                    return
            await asyncio.sleep(0.05)


def test_every_service_has_methods_with_a_token() -> None:
    assert {method.workload for method in METHODS} == set(SERVICES)
    assert {str(method) for method in METHODS} >= DECIDE_THEMSELVES


async def test_every_method_with_a_token_is_decided(
    channels: Channels, database: Database, everything: Metadata, tenant: str
) -> None:
    decided = [method for method in METHODS if str(method) not in DECIDE_THEMSELVES]
    assert len(decided) > 40
    async with installed(database, deny(tenant, "*")) as version:
        for name in SERVICES:
            first = next(method for method in decided if method.workload == name)
            await until_refused(functools.partial(first.call, channels[name], everything))
        for method in decided:
            await _is_denied(method, channels, everything, rule=f"stop-{tenant}", version=version)


async def _is_denied(method: Method, channels: Channels, token: Metadata, *, rule: str, version: int) -> None:
    told = await failure(method.call(channels[method.workload], token))
    assert (str(method), told.code, told.reason) == (
        str(method),
        grpc.StatusCode.PERMISSION_DENIED,
        "POLICY_DENIED",
    )
    assert told.metadata["action"] == method.contract.scope
    assert (told.metadata["rule_id"], told.metadata["policy_version"]) == (rule, str(version))
    assert told.metadata["decision_id"].startswith("dec_")


async def test_a_tenant_that_may_not_write_memories_still_reads_them(
    settings: StackSettings, channels: Channels, database: Database, everything: Metadata, tenant: str
) -> None:
    memories = memory_rpc.MemoriesStub(channels["memory"])
    client = (await stacks.running()).client
    remember = memory_pb.RememberRequest(text="The answer is 42.")
    stranger = await token_for(settings, new_id("tnt"), "memories.write")
    await memories.Remember(remember, metadata=everything)
    async with installed(database, deny(tenant, "memories.write")):
        nothing = memory_pb.ForgetRequest(memory_id=new_id("mem"))
        await until_refused(lambda: memories.Forget(nothing, metadata=everything))
        headers = dict(everything)
        async with aiohttp.ClientSession(base_url=client.edge_url, headers=headers) as http:
            async with http.post("/v1/memories", json={"text": "The answer is 42."}) as answer:
                body = await answer.json()
                assert (answer.status, body["details"][0]["reason"]) == (403, "POLICY_DENIED")
            async with http.get("/v1/memories") as answer:
                assert (answer.status, len((await answer.json())["memories"])) == (200, 1)
        await memories.Remember(remember, metadata=stranger)


async def test_a_denied_turn_is_kept_as_refused(
    channels: Channels, database: Database, everything: Metadata, tenant: str
) -> None:
    sessions = turns_rpc.SessionsStub(channels["orchestrator"])
    turns = turns_rpc.TurnsStub(channels["orchestrator"])
    session = await sessions.CreateSession(turns_pb.CreateSessionRequest(), metadata=everything)
    request = turns_pb.CreateTurnRequest(session_id=session.id)
    request.input.text = "Which port has the edge?"
    cancel = turns_pb.CancelTurnRequest(session_id=session.id)
    cancel.turn_id = (await turns.CreateTurn(request, metadata=everything)).id
    async with installed(database, deny(tenant, "turns.create")):
        await until_refused(lambda: turns.CancelTurn(cancel, metadata=everything))
        refused = await turns.CreateTurn(request, metadata=everything)
    assert refused.error.reason == errors_pb2.ERROR_REASON_POLICY_DENIED
    assert refused.decision_id.startswith("dec_")


async def test_changes_are_recorded_with_their_decision(
    settings: StackSettings, channels: Channels, everything: Metadata, tenant: str
) -> None:
    memories = memory_rpc.MemoriesStub(channels["memory"])
    memory = await memories.Remember(memory_pb.RememberRequest(text="The answer is 42."), metadata=everything)
    async with (
        Database.open(Environment(settings).postgres_url("memory"), largest=1) as opened,
        opened.transaction(tenant=tenant) as connection,
    ):
        rows = await connection.fetch("select payload from outbox where topic = 'audit.records'")
    (record,) = [AuditRecord.FromString(row["payload"]) for row in rows]
    assert (record.action, record.resource) == ("memories.remember", memory.id)
    assert record.decision_id.startswith("dec_")
    assert record.policy_version >= 1
