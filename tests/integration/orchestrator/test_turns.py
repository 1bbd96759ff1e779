"""Turns through the edge: made once, streamed, resumed, read, listed, cancelled."""

import asyncio
import uuid
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from google.protobuf import json_format
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb

from mesh.runtime import status
from mesh.turnlog import Link
from tests.bench.driver import Journal, check, follow
from tests.support.stack import Stack
from tests.support.wires import Event, GrpcClient

QUESTION = "What happens to a turn when a worker dies?"


def redis_url(stack: Stack) -> str:
    password = (stack.home / "secrets" / "redis-supervisor").read_text().strip()
    return f"redis://supervisor:{password}@127.0.0.1:{stack.settings.ports.of('redis')}/0"


async def resumed(client: GrpcClient, journal: Journal, from_seq: int) -> list[Event]:
    events = client.resume(journal.session_id, journal.turn_id, from_seq)
    return [event async for event in events if event.seq is not None]


async def failure(call: Any) -> status.RemoteFailure:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return status.read(refused.value)


def stream_request(session_id: str, text: str, request_id: str = "") -> rpc_pb.StreamTurnRequest:
    return rpc_pb.StreamTurnRequest(
        session_id=session_id, input=rpc_pb.TurnInput(text=text), request_id=request_id
    )


async def test_guide_answers_with_what_it_cites(client: GrpcClient) -> None:
    session_id = await client.create_session("guide")
    request = rpc_pb.CreateTurnRequest(session_id=session_id, input=rpc_pb.TurnInput(text=QUESTION))
    turn = await client.turns.CreateTurn(request, metadata=client.metadata)
    assert turn.state == pb.TURN_STATE_COMPLETED
    assert turn.finish_reason == pb.FINISH_REASON_STOP
    assert turn.citations
    assert all(f"[{citation.number}]" in turn.text for citation in turn.citations)
    assert turn.usage.total_tokens == turn.usage.input_tokens + turn.usage.output_tokens > 0
    assert turn.decision_id.startswith("dec_")
    assert turn.policy_version > 0
    stored = await client.turns.GetTurn(
        rpc_pb.GetTurnRequest(session_id=session_id, turn_id=turn.id), metadata=client.metadata
    )
    assert stored == turn
    session = await client.sessions.GetSession(
        rpc_pb.GetSessionRequest(session_id=session_id), metadata=client.metadata
    )
    assert (session.turn_count, session.display_name) == (1, QUESTION)


async def test_resume_gives_every_event_from_any_seq(stack: Stack, client: GrpcClient) -> None:
    journal = await follow(client, await client.create_session("bootstrap"), QUESTION, max_tokens=60)
    whole = [event for event in journal.events if event.seq is not None]
    for from_seq in range(len(whole)):
        assert await resumed(client, journal, from_seq) == whole[from_seq:]
    async with Link.open(redis_url(stack)) as link:
        assert await link.call("DEL", f"turnlog:{stack.tenant}:{journal.turn_id}")
    for from_seq in range(len(whole)):
        assert await resumed(client, journal, from_seq) == whole[from_seq:], "without its log"


async def test_log_of_a_turn_goes_soon_after_its_row_holds_it(client: GrpcClient, stack: Stack) -> None:
    journal = await follow(client, await client.create_session("bootstrap"), QUESTION, max_tokens=5)
    async with Link.open(redis_url(stack)) as link:
        for _ in range(100):
            left = await link.call("TTL", f"turnlog:{stack.tenant}:{journal.turn_id}")
            if left <= 300:
                break
            await asyncio.sleep(0.1)
    assert 0 < left <= 300


async def test_resume_past_the_end_is_refused(client: GrpcClient) -> None:
    journal = await follow(client, await client.create_session("bootstrap"), QUESTION, max_tokens=5)
    found = await failure(resumed(client, journal, 99))
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


async def test_repeat_streams_the_same_turn_from_its_beginning(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    request_id = uuid.uuid4().hex
    first, second = [
        [e async for e in client.stream(session_id, QUESTION, request_id=request_id, max_tokens=20)]
        for _ in range(2)
    ]
    assert first == second
    turns = await client.turns.ListTurns(
        rpc_pb.ListTurnsRequest(session_id=session_id), metadata=client.metadata
    )
    assert len(turns.turns) == 1


async def test_concurrent_repeats_make_one_turn(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    request_id = uuid.uuid4().hex

    journals = await asyncio.gather(
        *(follow(client, session_id, QUESTION, request_id=request_id, max_tokens=20) for _ in range(8))
    )
    assert all(journal.events == journals[0].events for journal in journals)


async def test_request_id_of_another_request_is_refused(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    request_id = uuid.uuid4().hex
    async for _ in client.stream(session_id, "One.", request_id=request_id, max_tokens=4):
        pass
    call = client.turns.StreamTurn(
        stream_request(session_id, "Another.", request_id), metadata=client.metadata
    )
    found = await failure(call.read())
    assert (found.code, found.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_whole_turn_and_stream_of_one_request_are_one_turn(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    whole = rpc_pb.CreateTurnRequest(
        session_id=session_id, input=rpc_pb.TurnInput(text="One."), request_id=uuid.uuid4().hex
    )
    first = await client.turns.CreateTurn(whole, metadata=client.metadata)
    second = await client.turns.CreateTurn(whole, metadata=client.metadata)
    assert first == second


async def test_get_right_after_the_end_has_the_text(client: GrpcClient) -> None:
    """The client may ask before the row is committed: then the log is read."""
    for _ in range(10):
        session_id = await client.create_session("bootstrap")
        journal = await follow(client, session_id, QUESTION, max_tokens=8)
        state, text = await client.stored(session_id, journal.turn_id)
        assert (state, text) == ("COMPLETED", journal.text)


async def test_client_that_leaves_does_not_end_the_turn(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    call = client.turns.StreamTurn(stream_request(session_id, QUESTION), metadata=client.metadata)
    accepted: Any = await call.read()
    call.cancel()
    journal = Journal(session_id, 0.0)
    async for event in client.resume(session_id, accepted.accepted.turn_id, 0):
        journal.take(event)
    assert journal.events[-1].kind == "completed"
    assert await check(client, [journal]) == []


async def test_earlier_turns_are_part_of_the_conversation(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    used = []
    for text in ("First question.", "Second question.", "Third question."):
        request = rpc_pb.CreateTurnRequest(
            session_id=session_id,
            input=rpc_pb.TurnInput(text=text),
            options=rpc_pb.GenerationOptions(max_tokens=20),
        )
        turn = await client.turns.CreateTurn(request, metadata=client.metadata)
        used.append((turn.number, turn.usage.input_tokens))
    assert [number for number, _ in used] == [1, 2, 3]
    assert used[0][1] < used[1][1] < used[2][1]


async def test_another_tenants_ids_are_like_unknown_ones(stack: Stack, client: GrpcClient) -> None:
    journal = await follow(client, await client.create_session("bootstrap"), QUESTION, max_tokens=4)
    tenant = await stack.new_tenant()
    metadata = (("authorization", f"Bearer {tenant.api_key}"),)
    ids: dict[str, Any] = {"session_id": journal.session_id, "turn_id": journal.turn_id}
    calls = [
        client.sessions.GetSession(rpc_pb.GetSessionRequest(session_id=ids["session_id"]), metadata=metadata),
        client.sessions.DeleteSession(
            rpc_pb.DeleteSessionRequest(session_id=ids["session_id"]), metadata=metadata
        ),
        client.turns.GetTurn(rpc_pb.GetTurnRequest(**ids), metadata=metadata),
        client.turns.CancelTurn(rpc_pb.CancelTurnRequest(**ids), metadata=metadata),
        client.turns.ListTurns(rpc_pb.ListTurnsRequest(session_id=ids["session_id"]), metadata=metadata),
        client.turns.StreamTurn(stream_request(ids["session_id"], "Hi."), metadata=metadata).read(),
        client.turns.ResumeTurn(rpc_pb.ResumeTurnRequest(**ids), metadata=metadata).read(),
    ]
    for call in calls:
        found = await failure(call)
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_lists_page_without_losing_or_repeating(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    for at in range(5):
        async for _ in client.stream(session_id, f"Number {at}.", request_id="", max_tokens=3):
            pass
    numbers, token = [], ""
    while True:
        page = await client.turns.ListTurns(
            rpc_pb.ListTurnsRequest(session_id=session_id, page_size=2, page_token=token),
            metadata=client.metadata,
        )
        numbers += [turn.number for turn in page.turns]
        token = page.next_page_token
        if not token:
            break
    assert numbers == [1, 2, 3, 4, 5]
    foreign = rpc_pb.ListSessionsRequest(page_token=token or "bm90IG91cnM")
    found = await failure(client.sessions.ListSessions(foreign, metadata=client.metadata))
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_deleted_session_is_gone_and_its_turns_end(client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    call = client.turns.StreamTurn(stream_request(session_id, QUESTION), metadata=client.metadata)
    accepted: Any = await call.read()
    turn_id = accepted.accepted.turn_id
    await client.sessions.DeleteSession(
        rpc_pb.DeleteSessionRequest(session_id=session_id), metadata=client.metadata
    )
    request = rpc_pb.GetTurnRequest(session_id=session_id, turn_id=turn_id)
    found = await failure(client.turns.GetTurn(request, metadata=client.metadata))
    assert found.code is grpc.StatusCode.NOT_FOUND
    call.cancel()


async def test_sse_carries_seq_zero_and_an_explicit_end(stack: Stack, client: GrpcClient) -> None:
    session_id = await client.create_session("bootstrap")
    url = f"{stack.edge_url}/v1/sessions/{session_id}/turns:stream"
    headers = {"authorization": f"Bearer {stack.api_key}"}
    body = {"input": {"text": QUESTION}, "options": {"max_tokens": 12}}
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line[5:] async for line in answer.content if line.startswith(b"data:")]
    events = [json_format.Parse(line, pb.TurnEvent()) for line in lines]
    assert b'"seq":"0"' in lines[0].replace(b" ", b"")
    assert [event.seq for event in events if event.HasField("seq")] == list(range(len(events)))
    assert events[-1].HasField("completed")


async def test_unknown_persona_is_not_found(client: GrpcClient) -> None:
    request = rpc_pb.CreateSessionRequest(persona="nosuch")
    found = await failure(client.sessions.CreateSession(request, metadata=client.metadata))
    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
