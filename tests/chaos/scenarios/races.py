"""Two live writers on one turn: no damaged text, one end, epochs that rise, fences that hold.

Most races run the worker's own writing (`workers.slm.journal`) in two to four writers that all live, on a
Redis of their own, where a lease is over at once: each takes the turn from the others in mid-sentence,
each cuts its frames at other tokens, and who was refused may claim again. The rest are the real worker
process: it is paused (SIGSTOP) until its leases are over, another takes its turns, it wakes and writes on.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from datetime import timedelta

from soma.orchestrator.v1 import resources_pb2 as turns_pb
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.runtime.ids import new_id
from mesh.turnlog import Claimed, Leases, Link, NotMine, TurnKey
from tests.chaos.fault import Outcome
from tests.chaos.scenarios import turnlogs
from tests.chaos.scenarios.load import LONG_OPTIONS, client, damage
from tests.support.edge import LONG, Edge, Frames
from tests.support.redis_server import redis_server
from tests.support.replicas import replica
from tests.support.stack import Stack
from workers.slm.answer import Answer
from workers.slm.journal import Journal

NAME = "races of live writers"
QUICK, LONG_RUN = (100, 1), (1000, 10)
SIDE_BY_SIDE = 20
SOURCE = "".join(chr(0x41 + i % 26) + chr(0xE0 + i % 20) for i in range(150))
OPENING = (
    turns_pb.TurnEvent(seq=0, accepted=turns_pb.Accepted()).SerializeToString(),
    turns_pb.TurnEvent(seq=1, recalled=turns_pb.Recalled()).SerializeToString(),
)
QUEUE = "slm"
WORKER = "worker-slm"
PAUSED_SECONDS = 4.0
STREAMS = 6
MOST_ROUNDS = 4


async def run(stack: Stack, *, seed: int, quick: bool) -> Outcome:
    """Race a thousand times and pause the worker ten times; the quick form a tenth of both."""
    writers, pauses = QUICK if quick else LONG_RUN
    return await race(stack, seed=seed, races=writers, pauses=pauses)


async def race(stack: Stack, *, seed: int, races: int, pauses: int) -> Outcome:
    """Race so many times between writers, and pause the real worker so many times."""
    claims, wrong = await of_writers(seed=seed, races=races)
    turns, contested, found = await of_processes(stack, pauses=pauses)
    return Outcome(
        name=NAME,
        counts={"races": races, "claims": claims, "pauses": pauses, "turns": turns, "taken over": contested},
        wrong=(*wrong, *found),
    )


async def of_writers(*, seed: int, races: int) -> tuple[int, list[str]]:
    """Race between live writers; give their claims and what went wrong."""
    choice, claims = random.Random(seed), 0
    wrong: list[str] = []
    with redis_server() as redis:
        for start in range(0, races, SIDE_BY_SIDE):
            seeds = [choice.random() for _ in range(min(SIDE_BY_SIDE, races - start))]
            for made, found in await asyncio.gather(*(_one_race(redis.url, one) for one in seeds)):
                claims += made
                wrong += found
    if claims <= races:
        wrong.append(f"{claims} claims in {races} races: nobody raced")
    return claims, wrong


async def _one_race(url: str, seed: float) -> tuple[int, list[str]]:
    choice = random.Random(seed)
    key = TurnKey("race", new_id("trn"))
    links = [Link(url) for _ in range(choice.randint(2, 4))]
    try:
        first = Leases(links[0], owner="opens")
        assert await first.open_log(key, OPENING)
        await asyncio.gather(
            *(_write(Leases(link, owner=f"w{index}", lease=timedelta(0)), key, random.Random(choice.random()))
              for index, link in enumerate(links))
        )  # fmt: skip
        log = await turnlogs.entries(links[0], key)
    finally:
        for link in links:
            link.close()
    wrong = turnlogs.damage(log)
    events = [turns_pb.TurnEvent.FromString(one.fields[b"e"]) for one in log if not one.fence]
    text = "".join(event.delta.text for event in events)
    if text != SOURCE:
        wrong.append(f"the text is {text!r}")
    return len(turnlogs.epochs(log)), [f"{key.turn_id}: {one}" for one in wrong]


async def _write(leases: Leases, key: TurnKey, choice: random.Random) -> None:
    """Take the turn, write on until it ends or is another's, and perhaps take it again."""
    request = slm_pb.GenerationRequest(turn_id=key.turn_id, queue=QUEUE, opening=OPENING).SerializeToString()
    for _ in range(choice.randint(1, 3)):
        await asyncio.sleep(choice.random() * 0.01)
        claimed = await leases.claim(key, request=request, opening=OPENING)
        if not isinstance(claimed, Claimed):
            return
        try:
            await _go_on(leases, claimed, choice)
        except NotMine:
            continue
        return
    # Whoever claims last writes to the end, so that every turn ends.
    claimed = await leases.claim(key, request=request, opening=OPENING)
    if isinstance(claimed, Claimed):
        try:
            await _go_on(leases, claimed, choice)
        except NotMine:
            return


async def _go_on(leases: Leases, claimed: Claimed, choice: random.Random) -> None:
    answer = Answer.of(claimed.entries, opening=OPENING)
    journal = Journal(leases, claimed, answer)
    try:
        while answer.ended is None:
            said = len(answer.text)
            if said == len(SOURCE):
                answer.complete("stop", input_tokens=1)
            else:
                answer.add(SOURCE[said : said + choice.randint(1, 9)], tokens=1)
            await journal.write()
            if choice.random() < 0.5:
                await asyncio.sleep(choice.random() * 0.001)
        await journal.flush()
        await leases.finish(claimed.key, epoch=journal.epoch, queue=QUEUE)
    finally:
        journal.abandon()


async def of_processes(stack: Stack, *, pauses: int) -> tuple[int, int, list[str]]:
    """Pause a real worker beside another one; give turns, those taken over, and what went wrong.

    The two workers are paused in turns. A pause counts where the paused one held a turn.
    """
    turns = contested = effective = rounds = 0
    wrong: list[str] = []
    async with (
        client(stack) as edge,
        replica(stack.settings, WORKER) as second,
        Link.open(turnlogs.redis_url(stack)) as link,
    ):
        while effective < pauses and rounds < pauses * MOST_ROUNDS:
            victim = (await stack.process(WORKER)).pid if rounds % 2 == 0 else second.pid
            assert victim is not None
            streams = await _streams_over_a_pause(edge, victim)
            taken = 0
            for frames in streams:
                log = await turnlogs.entries(link, TurnKey(stack.tenant, frames.turn_id))
                taken += len(turnlogs.epochs(log)) > 1
                wrong += await damage(edge, frames)
                wrong += [f"{frames.turn_id}: {one}" for one in turnlogs.damage(log)]
            turns, contested, rounds = turns + len(streams), contested + taken, rounds + 1
            effective += bool(taken)
    if effective < pauses:
        wrong.append(f"{effective} of {rounds} paused workers held a turn, {pauses} were wanted")
    return turns, contested, wrong


async def _streams_over_a_pause(edge: Edge, worker: int) -> list[Frames]:
    """Stream while a worker sleeps for longer than its leases last, and wakes again."""
    sessions = await asyncio.gather(*(edge.session("bootstrap") for _ in range(STREAMS)))
    streams = [Frames(session_id=one) for one in sessions]
    running = [
        asyncio.create_task(edge.turn(frames.session_id, LONG, frames=frames, options=LONG_OPTIONS))
        for frames in streams
    ]
    while not all(frames.text or frames.end for frames in streams):  # noqa: ASYNC110 - all of them
        await asyncio.sleep(0.02)
    os.kill(worker, signal.SIGSTOP)
    try:
        await asyncio.sleep(PAUSED_SECONDS)
    finally:
        os.kill(worker, signal.SIGCONT)
    await asyncio.gather(*running)
    return streams
