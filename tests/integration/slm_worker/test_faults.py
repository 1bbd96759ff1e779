"""Servers die or forget in the middle of streams; texts stay whole."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.events.bus import Bus
from mesh.events.records import Envelope
from mesh.runtime.ids import new_id
from mesh.runtime.settings import ProcessSettings
from mesh.turnlog import Link
from tests.bench.driver import Journal, check, follow
from tests.support.stack import Stack
from tests.support.talk import LONG, TEXT, create
from tests.support.wires import GrpcClient


async def run(client: GrpcClient, count: int) -> "list[asyncio.Task[Journal]]":
    sessions = [await client.create_session("bootstrap") for _ in range(count)]
    return [asyncio.create_task(follow(client, session_id, TEXT, **LONG)) for session_id in sessions]


async def whole(
    stack: Stack, client: GrpcClient, running: "Sequence[asyncio.Task[Journal]]"
) -> list[Journal]:
    journals = await asyncio.gather(*running)
    await stack.ready()
    for journal in journals:
        assert journal.events[-1].kind == "completed", journal.events[-1]
    assert await check(client, journals) == []
    return journals


def redis_url(stack: Stack) -> str:
    password = (stack.home / "secrets" / "redis-supervisor").read_text().strip()
    return f"redis://supervisor:{password}@127.0.0.1:{stack.settings.ports.of('redis')}/0"


async def test_redis_that_forgets_everything_damages_no_stream(stack: Stack, client: GrpcClient) -> None:
    running = await run(client, 12)
    await asyncio.sleep(0.7)
    async with Link.open(redis_url(stack)) as link:
        await link.call("FLUSHALL")
    await whole(stack, client, running)


async def test_killed_redis_damages_no_stream(stack: Stack, client: GrpcClient) -> None:
    running = await run(client, 12)
    await asyncio.sleep(0.7)
    await stack.kill("redis")
    await whole(stack, client, running)


async def test_killed_model_server_is_waited_for(stack: Stack, client: GrpcClient) -> None:
    running = await run(client, 12)
    await asyncio.sleep(0.7)
    await stack.kill("triton")
    await whole(stack, client, running)


async def test_killed_broker_delays_and_loses_nothing(stack: Stack, client: GrpcClient) -> None:
    running = await run(client, 12)
    await asyncio.sleep(0.5)
    await stack.kill("kafka")
    await whole(stack, client, running)


@pytest.mark.parametrize("poison", ["bytes", "foreign-log"])
async def test_poison_never_ends_the_loop(stack: Stack, client: GrpcClient, poison: str) -> None:
    turn_id = new_id("trn")
    payload = b"\xff\xff\xff"
    if poison == "foreign-log":
        payload = slm_pb.GenerationRequest(id=f"{turn_id}-request", turn_id=turn_id).SerializeToString()
        async with Link.open(redis_url(stack)) as link:
            await link.call("SET", f"turnlog:{stack.tenant}:{turn_id}", "not a stream")
    settings = ProcessSettings(
        workload="orchestrator",
        listen="127.0.0.1:1",
        pki_dir=stack.home / "pki" / "orchestrator",
        kafka_bootstrap=f"127.0.0.1:{stack.settings.ports.of('kafka')}",
    )
    async with Bus.open(settings) as bus:
        await bus.send(Envelope(f"{turn_id}-request", "slm.requests", turn_id, stack.tenant, payload, {}))
    await whole(stack, client, await run(client, 8))


async def test_budget_ends_the_answer_and_says_so(client: GrpcClient) -> None:
    free = await create(client, max_tokens=50, temperature=0.0)
    budget = free.usage.input_tokens + 4
    turn = await create(client, max_tokens=50, temperature=0.0, budget_tokens=budget)
    assert turn.finish_reason == pb.FINISH_REASON_BUDGET_EXHAUSTED
    assert turn.state == pb.TURN_STATE_COMPLETED
    assert turn.usage.total_tokens <= budget
    assert free.text.startswith(turn.text)


async def test_prompt_above_the_budget_is_refused(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await follow(client, session_id, "word " * 50, budget_tokens=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_cancel_ends_the_stream_at_once(client: GrpcClient) -> None:
    for _ in range(3):
        session_id = await client.create_session("bootstrap")
        events = client.stream(session_id, TEXT, request_id="", **LONG)
        turn_id, begun = "", False
        async for event in events:
            turn_id = turn_id or event.turn_id
            if event.kind == "delta" and not begun:
                begun = True
                request = rpc_pb.CancelTurnRequest(session_id=session_id, turn_id=turn_id)
                cancelling = asyncio.ensure_future(client.turns.CancelTurn(request, metadata=client.metadata))
            if event.kind == "completed":
                assert event.detail == "cancelled"
        turn = await cancelling
        assert turn.state == pb.TURN_STATE_CANCELLED
        assert turn.finish_reason == pb.FINISH_REASON_CANCELLED


async def test_ended_turn_is_cancelled_to_no_effect(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    journal = await follow(client, session_id, "Tell me about lists.", max_tokens=5)
    request = rpc_pb.CancelTurnRequest(session_id=session_id, turn_id=journal.turn_id)
    turn = await client.turns.CancelTurn(request, metadata=client.metadata)
    assert turn.state == pb.TURN_STATE_COMPLETED
    assert turn.text == journal.text
