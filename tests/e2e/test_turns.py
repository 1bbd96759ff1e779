"""Sessions and turns over HTTP, JSON and server-sent events, with an address and a key only."""

from __future__ import annotations

import asyncio
import uuid

from tests.support.edge import LONG, Edge, Frames

QUESTION = "What happens to a turn when a slm worker dies?"


async def test_a_session_is_created_with_201_and_can_be_read_and_listed(stranger: Edge) -> None:
    created = await stranger.post("/v1/sessions", {"persona": "guide"})
    assert created.status == 201
    read = await stranger.get(f"/v1/sessions/{created.body['id']}")
    assert read.body == created.body
    listed = await stranger.get("/v1/sessions")
    assert [s["id"] for s in listed.body["sessions"]] == [created.body["id"]]


async def test_a_stream_is_gap_free_cited_and_ends_explicitly(edge: Edge) -> None:
    frames = await edge.turn(await edge.session(), QUESTION)
    kinds = [next(k for k in e if k != "seq") for e in frames.events]
    assert kinds[0] == "accepted"
    assert "recalled" in kinds
    assert kinds[-1] == "completed"
    assert frames.breaks == 0
    assert frames.text
    assert "[1]" in frames.text or "[2]" in frames.text
    assert frames.events[-1]["completed"]["finish_reason"] == "stop"
    assert int(frames.events[-1]["completed"]["usage"]["output_tokens"]) > 0


async def test_the_stored_text_equals_the_stream(edge: Edge) -> None:
    frames = await edge.turn(await edge.session("bootstrap"), "Once", options={"max_tokens": 48})
    turn = await edge.stored(frames)
    assert turn["text"] == frames.text
    assert turn["state"] == "TURN_STATE_COMPLETED"
    assert turn["decision_id"].startswith("dec_")


async def test_a_whole_turn_answers_with_the_turn(edge: Edge) -> None:
    session = await edge.session()
    answer = await edge.post(f"/v1/sessions/{session}/turns", {"input": {"text": QUESTION}})
    assert answer.status == 200
    assert answer.body["state"] == "TURN_STATE_COMPLETED"
    assert answer.body["text"]
    assert answer.body["citations"]


async def test_a_repeated_request_id_streams_the_same_turn(edge: Edge) -> None:
    session, request_id = await edge.session(), uuid.uuid4().hex
    first = await edge.turn(session, QUESTION, request_id=request_id)
    again = await edge.turn(session, QUESTION, request_id=request_id)
    assert again.turn_id == first.turn_id
    assert again.events == first.events
    other = await edge.post(
        f"/v1/sessions/{session}/turns", {"input": {"text": "another"}, "request_id": request_id}
    )
    assert (other.status, other.reason) == (409, "REQUEST_ID_REUSED")


async def test_a_stream_resumes_at_every_number(edge: Edge) -> None:
    frames = await edge.turn(await edge.session("bootstrap"), "One", options={"max_tokens": 16})
    base = f"/v1/sessions/{frames.session_id}/turns/{frames.turn_id}:stream"
    for number in range(len(frames.events)):
        events = [e async for e in edge.events("GET", f"{base}?from_seq={number}") if "ping" not in e]
        assert events == frames.events[number:]


async def test_a_turn_goes_on_when_its_client_is_gone(edge: Edge) -> None:
    session = await edge.session("bootstrap")
    body = {
        "input": {"text": LONG},
        "request_id": uuid.uuid4().hex,
        "options": {"max_tokens": 64, "min_tokens": 64},
    }
    frames = Frames(session_id=session)
    stream = edge.events("POST", f"/v1/sessions/{session}/turns:stream", body)
    async for event in stream:
        frames.take(event)
        break
    await stream.aclose()
    turn = await edge.stored(frames)
    assert turn["state"] == "TURN_STATE_COMPLETED"
    assert turn["text"]


async def test_a_cancelled_turn_ends_at_once(edge: Edge) -> None:
    session = await edge.session("bootstrap")
    body = {
        "input": {"text": LONG},
        "request_id": uuid.uuid4().hex,
        "options": {"max_tokens": 400, "min_tokens": 400},
    }
    frames = Frames(session_id=session)
    async for event in edge.events("POST", f"/v1/sessions/{session}/turns:stream", body):
        frames.take(event)
        if "delta" in event and frames.next_seq == 3:
            cancelled = await edge.post(f"/v1/sessions/{session}/turns/{frames.turn_id}:cancel")
            assert cancelled.status == 200
    assert frames.events[-1]["completed"]["finish_reason"] == "cancelled"
    turn = await edge.stored(frames)
    assert turn["state"] == "TURN_STATE_CANCELLED"
    assert turn["text"] == frames.text


async def test_a_budget_stops_the_model_in_mid_stream(edge: Edge) -> None:
    session = await edge.session("bootstrap")
    options = {"max_tokens": 200, "min_tokens": 200, "recall": False, "budget_tokens": 40}
    frames = await edge.turn(session, LONG, options=options)
    completed = frames.events[-1]["completed"]
    assert completed["finish_reason"] == "budget_exhausted"
    assert int(completed["usage"]["total_tokens"]) <= 40


async def test_every_turn_leaves_its_audit_records(stranger: Edge) -> None:
    frames = await stranger.turn(await stranger.session("bootstrap"), "Hello", options={"max_tokens": 8})
    turn = await stranger.stored(frames)
    records = await stranger.audited(resource=frames.turn_id, outcomes={"allowed", "completed"})
    assert turn["decision_id"] in {record["decision_id"] for record in records}
    verified = await stranger.get("/v1/audit:verify")
    assert verified.body["valid"] is True


async def test_a_hundred_sessions_stream_at_once_without_a_lost_frame(edge: Edge) -> None:
    sessions = await asyncio.gather(*(edge.session("bootstrap") for _ in range(100)))
    options = {"max_tokens": 24, "min_tokens": 24, "recall": False}
    streams = await asyncio.gather(*(edge.turn(s, LONG, options=options) for s in sessions))
    assert [f.end for f in streams] == ["completed"] * 100
    assert sum(f.breaks for f in streams) == 0
    turns = await asyncio.gather(*(edge.stored(f) for f in streams))
    assert [t.get("text", "") for t in turns] == [f.text for f in streams]
