"""Workers die, sleep, wake and stop in the middle of streams; clients notice a pause at most."""

import asyncio
import signal
import statistics
from collections.abc import Sequence

from tests.bench.driver import GrpcClient, Journal, check, follow
from tests.support.replicas import Replica, replica
from tests.support.stack import Stack

STREAMS = 20
LONG = {"max_tokens": 400, "temperature": 0.7}
QUESTION = "Tell me everything about the class, case {}."


async def streams(client: GrpcClient, **options: float) -> list["asyncio.Task[Journal]"]:
    sessions = [await client.create_session("bootstrap") for _ in range(STREAMS)]
    return [
        asyncio.create_task(follow(client, session_id, QUESTION.format(at), **{**LONG, **options}))
        for at, session_id in enumerate(sessions)
    ]


async def whole(client: GrpcClient, running: "Sequence[asyncio.Task[Journal]]") -> list[Journal]:
    journals = await asyncio.gather(*running)
    for journal in journals:
        assert journal.events[-1].kind == "completed", journal.events[-1]
    assert await check(client, journals) == []
    return journals


def stalls(journals: Sequence[Journal], *, over: float) -> list[float]:
    return [longest for journal in journals if (longest := max(journal.gaps, default=0.0)) > over]


async def half_way(running: "Sequence[asyncio.Task[Journal]]", one: Replica) -> None:
    """Wait until the model is busy with them, and the replica took its share."""
    await asyncio.sleep(1.0)
    assert one.runs
    assert any(not task.done() for task in running)


async def test_killed_workers_turns_go_on_with_another_one(stack: Stack, client: GrpcClient) -> None:
    async with replica(stack.settings, "worker-slm") as one:
        running = await streams(client)
        await half_way(running, one)
        await one.end(signal.SIGKILL)
        journals = await whole(client, running)
    affected = stalls(journals, over=1.0)
    assert affected, "the killed worker had no turns"
    assert statistics.median(affected) <= 2.5, affected


async def test_worker_that_wakes_beside_its_successor_damages_nothing(
    stack: Stack, client: GrpcClient
) -> None:
    async with replica(stack.settings, "worker-slm") as one:
        running = await streams(client)
        await half_way(running, one)
        one.send(signal.SIGSTOP)
        await asyncio.sleep(4.0)
        one.send(signal.SIGCONT)
        await whole(client, running)


async def test_stopped_worker_hands_its_turns_over_at_once(stack: Stack, client: GrpcClient) -> None:
    async with replica(stack.settings, "worker-slm", soma_finish_seconds="0.1") as one:
        running = await streams(client)
        await half_way(running, one)
        assert await one.end(signal.SIGTERM) == 0
        journals = await whole(client, running)
    # A lease that ran out would cost about two seconds.
    assert max(stalls(journals, over=0.0), default=0.0) < 1.9


async def test_worker_that_joins_in_mid_stream_disturbs_nobody(stack: Stack, client: GrpcClient) -> None:
    running = await streams(client)
    await asyncio.sleep(0.3)
    async with replica(stack.settings, "worker-slm"):
        await whole(client, running)


async def test_extracted_answer_is_the_same_after_a_takeover(stack: Stack, client: GrpcClient) -> None:
    """The model `extract` answers the same each time: what was sent is verified and passed over."""
    session_id = await client.create_session("guide")
    alone = await follow(client, session_id, "What happens to a turn when a worker dies?")
    async with replica(stack.settings, "worker-slm") as one:
        sessions = [await client.create_session("guide") for _ in range(STREAMS)]
        running = [
            asyncio.create_task(follow(client, s, "What happens to a turn when a worker dies?"))
            for s in sessions
        ]
        await asyncio.sleep(0.08)
        await one.end(signal.SIGKILL)
        journals = await whole(client, running)
    assert {journal.text for journal in journals} == {alone.text}
