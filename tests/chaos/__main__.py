"""`make chaos`: faults by seed while turns stream, and a checker over everything that was acknowledged.

    python -m tests.chaos --seed 7            a minute; the same seed chooses the same faults
    python -m tests.chaos --long              an hour

The stack is a real one of its own (`.soma-test`, or `SOMA_TEST_HOME`). A fault is kill -9 of a process
or a pause of two seconds (SIGSTOP). Checked at the end: every turn that a client was told of has ended;
what the client joined from its streams, broken and resumed, equals the stored text byte for byte; no
event came twice and none is missing; every process is ready again by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from tests.support.edge import LONG, Edge, Frames
from tests.support.stack import Stack, running

VICTIMS = (
    *("kafka", "redis", "postgres", "triton", "envoy", "vectors", "xds"),
    *("orchestrator", "memory", "slm", "gateway", "identity", "policy", "audit"),
    *("worker-slm", "worker-slm", "worker-outbox", "worker-projections"),
)
SECONDS, LONG_SECONDS = 60.0, 3600.0
CLIENTS = 8
PAUSE_SECONDS = 2.0
OPTIONS = {"max_tokens": 64, "recall": False}


@dataclass(slots=True)
class Tally:
    """What happened."""

    faults: Counter[str] = field(default_factory=Counter)
    ended: list[Frames] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def faults(stack: Stack, choice: random.Random, until: float, tally: Tally) -> None:
    """Break one process after another."""
    while True:
        await asyncio.sleep(choice.uniform(2.0, 6.0))
        victim, pause = choice.choice(VICTIMS), choice.random() < 0.25
        if time.monotonic() > until:
            return
        row = await stack.process(victim)
        if row.pid is None:
            continue
        tally.faults[f"{'pause' if pause else 'kill'} {victim}"] += 1
        print(f"{'pause' if pause else 'kill -9'} {victim} ({row.pid})", flush=True)
        with contextlib.suppress(ProcessLookupError):
            if not pause:
                os.kill(row.pid, signal.SIGKILL)
                continue
            os.kill(row.pid, signal.SIGSTOP)
            await asyncio.sleep(PAUSE_SECONDS)
            os.kill(row.pid, signal.SIGCONT)


async def converse(edge: Edge, until: float, tally: Tally) -> None:
    """Run one turn after another; what was refused before it was acknowledged is tried again."""
    while time.monotonic() < until:
        try:
            session = await edge.session("bootstrap")
        except (AssertionError, aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(0.2)
            continue
        try:
            tally.ended.append(await edge.turn(session, LONG, options=OPTIONS))
        except AssertionError as error:
            tally.wrong.append(f"session {session}: {error}")


async def check(edge: Edge, tally: Tally) -> None:
    """Compare what clients saw with what is stored."""
    for frames in tally.ended:
        turn = await edge.stored(frames)
        if frames.end != "completed":
            tally.wrong.append(f"{frames.turn_id} ended with {frames.events[-1]}")
        elif turn.get("text", "").encode() != frames.text.encode():
            tally.wrong.append(f"{frames.turn_id}: {frames.text!r} was streamed, {turn['text']!r} is stored")
    turns = Counter(frames.turn_id for frames in tally.ended)
    tally.wrong += [f"{turn} was given to {n} requests" for turn, n in turns.items() if n > 1]


async def storm(seed: int, seconds: float) -> Tally:
    """Run faults and clients side by side, then check."""
    stack, tally = await running(), Tally()
    until = time.monotonic() + seconds
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        edge = Edge(http, url=stack.edge_url, key=stack.api_key)
        async with asyncio.TaskGroup() as group:
            group.create_task(faults(stack, random.Random(seed), until, tally))
            for _ in range(CLIENTS):
                group.create_task(converse(edge, until, tally))
        await stack.ready()
        await check(edge, tally)
    return tally


def main() -> int:
    """Command line; 1 where something acknowledged was lost or damaged."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--long", action="store_true")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    tally = asyncio.run(storm(given.seed, LONG_SECONDS if given.long else SECONDS))
    breaks = sum(frames.breaks for frames in tally.ended)
    print(f"{len(tally.ended)} turns, {breaks} broken streams, faults: {dict(tally.faults)}")
    for line in tally.wrong:
        print(f"WRONG {line}", file=sys.stderr)
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
