"""What dies comes back, and nothing that was acknowledged is lost. Faults are real: kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import pytest

from tests.support.edge import LONG, Edge, Frames
from tests.support.stack import Stack

STREAMS = 20
OPTIONS = {"max_tokens": 400, "min_tokens": 400, "recall": False}


async def finished(edge: Edge, streams: list[Frames]) -> None:
    """Every joined text equals the stored one byte for byte, and no turn is lost."""
    turns = await asyncio.gather(*(edge.stored(f) for f in streams))
    assert [f.end for f in streams] == ["completed"] * len(streams)
    assert [t.get("text", "").encode() for t in turns] == [f.text.encode() for f in streams]
    assert len({f.turn_id for f in streams}) == len(streams)
    for frames in streams:
        listed = await edge.get(f"/v1/sessions/{frames.session_id}/turns")
        assert [t["id"] for t in listed.body["turns"]] == [frames.turn_id]


@pytest.mark.parametrize("process", ["worker-slm", "orchestrator"])
async def test_streams_survive_the_death_of_a_process_byte_for_byte(
    edge: Edge, stack: Stack, process: str
) -> None:
    sessions = await asyncio.gather(*(edge.session("bootstrap") for _ in range(STREAMS)))
    running = [asyncio.create_task(edge.turn(s, LONG, options=OPTIONS)) for s in sessions]
    await asyncio.sleep(1.0)
    await stack.kill(process)
    streams = await asyncio.wait_for(asyncio.gather(*running), 150)
    await finished(edge, streams)
    await stack.ready()


@pytest.mark.parametrize("server", ["kafka", "redis", "postgres", "triton", "envoy", "xds", "vectors"])
async def test_a_server_that_is_killed_comes_back_and_nothing_is_lost(
    edge: Edge, stack: Stack, server: str
) -> None:
    before = [await edge.turn(await edge.session("bootstrap"), LONG, options=OPTIONS) for _ in range(2)]
    remembered = await edge.post("/v1/memories", {"text": f"The kill of {server} was planned."})
    assert remembered.status == 200, remembered
    sessions = await asyncio.gather(*(edge.session("bootstrap") for _ in range(6)))
    running = [asyncio.create_task(edge.turn(s, LONG, options=OPTIONS)) for s in sessions]
    await asyncio.sleep(0.7)
    await stack.kill(server)
    during = await asyncio.wait_for(asyncio.gather(*running), 150)
    await stack.ready()
    await finished(edge, [*before, *during])
    after = await edge.turn(await edge.session("bootstrap"), LONG, options=OPTIONS)
    assert after.end == "completed"
    read = await edge.get(f"/v1/memories/{remembered.body['id']}")
    assert read.body["text"] == remembered.body["text"]


async def test_traffic_goes_on_while_the_control_plane_is_away(edge: Edge, stack: Stack) -> None:
    session = await edge.session("bootstrap")
    turn = asyncio.create_task(
        edge.turn(session, LONG, options={"max_tokens": 900, "min_tokens": 900, "recall": False})
    )
    await asyncio.sleep(0.3)
    await stack.kill("xds")
    for _ in range(20):
        answer = await edge.get(f"/v1/sessions/{session}")
        assert answer.status == 200
    frames = await turn
    assert frames.breaks == 0
    await stack.ready()


async def test_a_slow_reader_does_not_slow_the_others(edge: Edge) -> None:
    session = await edge.session("bootstrap")
    body = {"input": {"text": LONG}, "request_id": uuid.uuid4().hex, "options": OPTIONS}
    slow = edge.events("POST", f"/v1/sessions/{session}/turns:stream", body)
    async with contextlib.aclosing(slow):
        await anext(slow)
        fast = await edge.turn(await edge.session("bootstrap"), LONG, options=OPTIONS)
        assert fast.end == "completed"
        assert fast.breaks == 0
