"""Workers die, sleep, wake and stop in the middle of streams; clients notice a pause at most."""

import asyncio
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mesh.turnlog import Link, TurnKey
from mesh.turnlog.keys import LEASES
from tests.bench.driver import Journal, check, follow
from tests.integration.orchestrator.test_turns import redis_url
from tests.support.replicas import replica
from tests.support.stack import Stack
from tests.support.talk import LONG, TEXT
from tests.support.wires import GrpcClient

STREAMS = 20


@dataclass(frozen=True, slots=True)
class Load:
    """Streams under way, and what came of them so far."""

    journals: list[Journal]
    tasks: "list[asyncio.Task[Journal]]"

    async def flows(self) -> None:
        """Wait until half of them speak, and then a moment more."""
        deadline = time.monotonic() + 30
        while sum(bool(journal.first_delta) for journal in self.journals) < STREAMS // 2:
            assert time.monotonic() < deadline, "nothing streams"
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert not all(task.done() for task in self.tasks), "they were too fast"


async def streams(client: GrpcClient) -> Load:
    journals = [Journal(await client.create_session("bootstrap")) for _ in range(STREAMS)]
    tasks = [
        asyncio.create_task(follow(client, journal.session_id, TEXT, journal=journal, **LONG))
        for journal in journals
    ]
    return Load(journals, tasks)


async def whole(client: GrpcClient, running: "Sequence[asyncio.Task[Journal]]") -> list[Journal]:
    journals = await asyncio.gather(*running)
    for journal in journals:
        assert journal.events[-1].kind == "completed", journal.events[-1]
    assert await check(client, journals) == []
    return journals


def stalls(journals: Sequence[Journal], *, over: float) -> list[float]:
    return [longest for journal in journals if (longest := max(journal.gaps, default=0.0)) > over]


async def test_killed_workers_turns_go_on_with_another_one(stack: Stack, client: GrpcClient) -> None:
    async with replica(stack.settings, "worker-slm") as one:
        load = await streams(client)
        await load.flows()
        await one.end(signal.SIGKILL)
        journals = await whole(client, load.tasks)
    affected = stalls(journals, over=1.0)
    assert affected, "the killed worker had no turns"
    assert statistics.median(affected) <= 2.5, affected


async def test_worker_that_wakes_beside_its_successor_damages_nothing(
    stack: Stack, client: GrpcClient
) -> None:
    async with replica(stack.settings, "worker-slm") as one:
        load = await streams(client)
        await load.flows()
        one.send(signal.SIGSTOP)
        await asyncio.sleep(4.0)
        one.send(signal.SIGCONT)
        await whole(client, load.tasks)


async def owners(stack: Stack) -> set[bytes]:
    """The workers that hold turns now."""
    async with Link.open(redis_url(stack)) as link:
        members = await link.call("ZRANGE", LEASES, 0, -1)
        held = [await link.call("HGET", TurnKey.of_member(member).meta, "owner") for member in members]
    return {owner for owner in held if owner}


async def test_stopped_worker_hands_its_turns_over_at_once(stack: Stack, client: GrpcClient) -> None:
    async with replica(stack.settings, "worker-slm", soma_finish_seconds="0.1") as one:
        load = await streams(client)
        await load.flows()
        assert len(await owners(stack)) == 2
        assert await one.end(signal.SIGTERM) == 0
        # It gave its leases back: none of them has to run out first.
        assert len(await owners(stack)) <= 1
        await whole(client, load.tasks)


async def test_worker_that_joins_in_mid_stream_disturbs_nobody(stack: Stack, client: GrpcClient) -> None:
    load = await streams(client)
    await load.flows()
    async with replica(stack.settings, "worker-slm"):
        await whole(client, load.tasks)


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
