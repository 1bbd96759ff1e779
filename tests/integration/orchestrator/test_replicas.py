"""Orchestrators die, queues fill, stores forget: turns stay."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from soma.audit.v1 import resources_pb2 as audit_pb
from soma.audit.v1 import service_pb2 as audit_rpc_pb
from soma.audit.v1 import service_pb2_grpc as audit_rpc
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb

from mesh.runtime import status
from mesh.turnlog import Link
from tests.bench.driver import Journal, check, follow
from tests.integration.orchestrator.test_turns import redis_url, stream_request
from tests.support.replicas import Replica, mesh_channel, replica
from tests.support.stack import Stack, Tenant, address_of
from tests.support.talk import LONG, TEXT
from tests.support.wires import GrpcClient


@pytest.fixture
async def beside(stack: Stack) -> AsyncIterator[Replica]:
    """An orchestrator beside the stack's, with a shorter queue."""
    async with replica(
        stack.settings, "orchestrator", soma_waiting_per_slot="1", soma_ping_seconds="0.3"
    ) as one:
        yield one


async def audit_records(stack: Stack, tenant: Tenant) -> list[audit_pb.AuditRecord]:
    port = int(address_of(stack.settings, "audit").rpartition(":")[2])
    metadata = (("authorization", f"Bearer {tenant.api_key}"),)
    found: list[audit_pb.AuditRecord] = []
    async with mesh_channel(stack.settings, "edge", "audit", port) as channel:
        stub, token = audit_rpc.RecordsStub(channel), ""
        while True:
            request = audit_rpc_pb.ListRecordsRequest(page_size=200, page_token=token)
            page = await stub.ListRecords(request, metadata=metadata)
            found += [chained.record for chained in page.records]
            token = page.next_page_token
            if not token:
                return found


async def test_killed_orchestrators_streams_go_on_at_another(
    stack: Stack, client: GrpcClient, beside: Replica
) -> None:
    tenant, streaming = await stack.new_tenant(), asyncio.Event()
    async with beside.channel("edge") as channel:
        there = GrpcClient(channel, tenant.api_key)
        here = GrpcClient(client.channel, tenant.api_key)
        journals = [Journal(await there.create_session("bootstrap"), 0.0) for _ in range(24)]
        cut = [asyncio.create_task(_until_cut(there, journal, streaming, LONG)) for journal in journals]
        await asyncio.wait_for(streaming.wait(), 20)
        await beside.end(signal.SIGKILL)
        await asyncio.gather(*cut)
    assert any(not journal.ended for journal in journals), "nothing was cut"
    for journal in journals:
        if not journal.ended and journal.turn_id:
            async for event in here.resume(journal.session_id, journal.turn_id, journal.next_seq):
                journal.take(event)
    accepted = [journal for journal in journals if journal.turn_id]
    assert await check(here, accepted) == []
    await _recorded_once(stack, tenant, {journal.turn_id for journal in accepted})


async def _until_cut(
    client: GrpcClient, journal: Journal, streaming: asyncio.Event, options: dict[str, Any]
) -> None:
    events = client.stream(journal.session_id, TEXT, request_id="", **LONG)
    try:
        async for event in events:
            journal.take(event)
            if event.kind == "delta":
                streaming.set()
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - other errors are raised


async def _recorded_once(stack: Stack, tenant: Tenant, turns: set[str]) -> None:
    deadline = time.monotonic() + 20
    while True:
        ended = [r.resource for r in await audit_records(stack, tenant) if r.action == "turns.end"]
        if set(ended) >= turns or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.3)
    # A turn that was made and whose `accepted` never reached its client is recorded as well.
    assert set(ended) >= turns
    assert len(ended) == len(set(ended)), "each turn's end is recorded once"


async def test_full_queue_is_refused_at_once_with_a_time_to_retry(stack: Stack, beside: Replica) -> None:
    async with beside.channel("edge") as channel:
        client = GrpcClient(channel, stack.api_key)
        sessions = [await client.create_session("bootstrap") for _ in range(60)]
        refused: list[tuple[int, status.RemoteFailure]] = []
        ended: list[str] = []
        positions: list[int] = []

        async def run(session_id: str) -> None:
            call = client.turns.StreamTurn(
                rpc_pb.StreamTurnRequest(
                    session_id=session_id,
                    input=rpc_pb.TurnInput(text=TEXT),
                    options=rpc_pb.GenerationOptions(**LONG),
                ),
                metadata=client.metadata,
            )
            try:
                positions.extend([event.accepted.queue_position async for event in call])
                ended.append(session_id)
            except grpc.aio.AioRpcError as error:
                refused.append((len(ended), status.read(error)))

        await asyncio.gather(*map(run, sessions))
    assert refused, "60 turns fitted into 16 slots and 16 places"
    assert refused[0][0] == 0, "the first refusal waited for no turn to end"
    for _, found in refused:
        assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert found.retry_after is not None
    assert max(positions) > 0, "who waits is told how many wait before it"


async def test_waiting_stream_pings_without_a_seq(stack: Stack, beside: Replica) -> None:
    pid = (await stack.process("triton")).pid
    assert pid is not None
    async with beside.channel("edge") as channel:
        client = GrpcClient(channel, stack.api_key)
        session_id = await client.create_session("bootstrap")
        os.kill(pid, signal.SIGSTOP)  # nothing comes while the model server sleeps
        try:
            running = asyncio.create_task(follow(client, session_id, "Hi.", max_tokens=4))
            await asyncio.sleep(1.5)
        finally:
            os.kill(pid, signal.SIGCONT)
        journal = await running
    pings = [event for event in journal.events if event.kind == "ping"]
    assert pings
    assert all(event.seq is None for event in pings)
    assert journal.events[-1].kind == "completed"
    await stack.ready()


async def test_turn_that_redis_and_its_worker_lost_is_published_again(
    stack: Stack, client: GrpcClient
) -> None:
    session_id = await client.create_session("bootstrap")
    call = client.turns.StreamTurn(
        stream_request(session_id, "Tell me about lists."), metadata=client.metadata
    )
    accepted: Any = await call.read()
    turn_id = accepted.accepted.turn_id
    row = await stack.process("worker-slm")
    async with Link.open(redis_url(stack)) as link:
        await link.call("FLUSHALL")
        await stack.kill("worker-slm")
        await link.call("FLUSHALL")
    assert row.pid is not None
    call.cancel()
    deadline = time.monotonic() + 40
    while (await client.stored(session_id, turn_id))[0] == "RUNNING":
        assert time.monotonic() < deadline, "nobody looked after the turn"
        await asyncio.sleep(0.3)
    journal = Journal(session_id, 0.0)
    async for event in client.resume(session_id, turn_id, 0):
        journal.take(event)
    assert journal.events[-1].kind == "completed"
    assert await check(client, [journal]) == []
    await stack.ready()


async def test_queued_turn_is_cancelled_without_waiting_for_a_slot(stack: Stack, client: GrpcClient) -> None:
    sessions = [await client.create_session("bootstrap") for _ in range(40)]
    busy = [asyncio.create_task(follow(client, s, TEXT, **LONG)) for s in sessions]
    await asyncio.sleep(0.5)
    session_id = await client.create_session("bootstrap")
    call = client.turns.StreamTurn(stream_request(session_id, "Hi."), metadata=client.metadata)
    accepted: Any = await call.read()
    turn_id = accepted.accepted.turn_id
    turn = await client.turns.CancelTurn(
        rpc_pb.CancelTurnRequest(session_id=session_id, turn_id=turn_id), metadata=client.metadata
    )
    assert not all(task.done() for task in busy)
    assert turn.state in {pb.TURN_STATE_CANCELLED, pb.TURN_STATE_COMPLETED}
    call.cancel()
    assert await check(client, await asyncio.gather(*busy)) == []
