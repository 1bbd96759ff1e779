"""A worker dies in mid-stream beside another one: how long its streams stall, and that no text is damaged.

The stack's own worker and a second one die in turns. A stream is the victim's where the turn has another
owner after the kill than before.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mesh.turnlog import Link, TurnKey
from tests.chaos.fault import Outcome
from tests.chaos.scenarios import turnlogs
from tests.chaos.scenarios.load import LONG_OPTIONS, client, damage
from tests.support.edge import LONG, Edge, Frames, Json
from tests.support.replicas import Replica, replica
from tests.support.stack import Stack

NAME = "takeover after a worker's death"
QUICK, LONG_RUN = 5, 20
WORKER = "worker-slm"
STREAMS = 6
BOUND_S = 2.5
MOST_ROUNDS = 3


@dataclass(slots=True)
class Timed(Frames):
    """A stream that knows when each event came."""

    times: list[float] = field(default_factory=list)

    def take(self, event: Json) -> None:
        """Append an event and its time; pings are no text."""
        before = len(self.events)
        super(Timed, self).take(event)
        if len(self.events) > before:
            self.times.append(time.monotonic())

    def stall(self, since: float) -> float:
        """The longest silence that ended after `since`, in seconds."""
        pairs = zip(self.times, self.times[1:], strict=False)
        return max((after - before for before, after in pairs if after > since), default=0.0)


async def run(stack: Stack, *, seed: int, quick: bool) -> Outcome:
    """Kill twenty workers, five in the quick form, and judge the median stall."""
    found = await kill(stack, QUICK if quick else LONG_RUN)
    median = found.figures.get("stall_p50_s", 0.0)
    late = () if median <= BOUND_S else (f"the median stall is {median:.2f} s, the bound {BOUND_S} s",)
    return Outcome(name=NAME, counts=found.counts, figures=found.figures, wrong=(*found.wrong, *late))


async def kill(stack: Stack, kills: int) -> Outcome:
    """Kill workers that hold streams until so many have died so."""
    stalls: list[float] = []
    wrong: list[str] = []
    deadly = rounds = turns = 0
    async with (
        client(stack) as edge,
        replica(stack.settings, WORKER) as second,
        Link.open(turnlogs.redis_url(stack)) as link,
    ):
        while deadly < kills and rounds < kills * MOST_ROUNDS:
            streams, killed_at, owners = await _one_death(stack, edge, link, second, theirs=rounds % 2 == 0)
            rounds += 1
            turns += len(streams)
            mine = await _taken(link, stack, streams, owners)
            stalls += [frames.stall(killed_at) for frames in mine]
            deadly += bool(mine)
            for frames in streams:
                wrong += await damage(edge, frames)
    if deadly < kills:
        wrong.append(f"{deadly} of {rounds} killed workers held a stream, {kills} were wanted")
    figures = {"stall_max_s": max(stalls, default=0.0), "stall_p50_s": statistics.median(stalls or [0.0])}
    return Outcome(
        name=NAME,
        counts={"kills": deadly, "rounds": rounds, "turns": turns, "taken over": len(stalls)},
        figures={name: round(value, 3) for name, value in figures.items()},
        wrong=tuple(wrong),
    )


async def _one_death(
    stack: Stack, edge: Edge, link: Link, second: Replica, *, theirs: bool
) -> tuple[list[Timed], float, dict[str, Any]]:
    """Stream, kill one of the two workers, stream on to the end; both run again afterwards."""
    sessions = await asyncio.gather(*(edge.session("bootstrap") for _ in range(STREAMS)))
    streams = [Timed(session_id=one) for one in sessions]
    running = [
        asyncio.create_task(edge.turn(frames.session_id, LONG, frames=frames, options=LONG_OPTIONS))
        for frames in streams
    ]
    while not all(frames.text or frames.end for frames in streams):  # noqa: ASYNC110 - all of them
        await asyncio.sleep(0.02)
    owners = {frames.turn_id: await _owner(link, stack, frames) for frames in streams}
    killed_at = time.monotonic()
    if theirs:
        await stack.kill(WORKER)
    else:
        await second.end(signal.SIGKILL)
    await asyncio.gather(*running)
    if not second.runs:
        await second.start()
    await stack.ready()
    return streams, killed_at, owners


async def _taken(
    link: Link, stack: Stack, streams: Sequence[Timed], owners: Mapping[str, Any]
) -> list[Timed]:
    """The streams whose turn was taken from whom it had."""
    return [one for one in streams if await _owner(link, stack, one) != owners[one.turn_id]]


async def _owner(link: Link, stack: Stack, frames: Frames) -> Any:
    return await link.call("HGET", TurnKey(stack.tenant, frames.turn_id).meta, "owner")
