"""The storm: users act, faults happen by plan, everything is drained, and the checker is asked."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.chaos.fault import CannotRunHere
from tests.chaos.held import Held, Violation
from tests.chaos.holdings import Holdings
from tests.chaos.invariants import check
from tests.chaos.journal import Journal, Story, read
from tests.chaos.latency import GRACE, WINDOW, Probe, Recovery, Span, i8_quick_again, recoveries
from tests.chaos.plan import Step
from tests.chaos.traces import Traces
from tests.chaos.workload import Workload, workload
from tests.support.stack import Stack

WARM_SECONDS, CALM_SECONDS = 5.0, 33.0
"""Four calm windows are what a recovery is compared with."""
FAULT_SECONDS = 300.0
READY_SECONDS = 240.0
DRAIN_SECONDS = 240.0


@dataclass(slots=True)
class Storm:
    """What happened."""

    story: Story = field(default_factory=Story)
    held: Held = field(default_factory=Held)
    spans: list[Span] = field(default_factory=list)
    started: float = 0.0
    """Wall clock less monotonic clock: what turns a span's times into the journal's."""
    not_run: list[str] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)


def say(line: str) -> None:
    """Tell the progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


async def storm(
    stack: Stack,
    steps: Sequence[Step],
    *,
    seed: int,
    seconds: float,
    journal: Path,
    traces: Traces | None = None,
) -> Storm:
    """Run a schedule, or as much of it as fits into its time, and check."""
    happened = Storm(started=time.time() - time.monotonic())
    with Journal(journal) as written:
        async with workload(stack, written, seed=seed) as load:
            samples = await _rage(stack, load, steps, happened, seconds=seconds)
            say("the storm is over; draining")
            await stack.ready(seconds=READY_SECONDS)
            holdings = Holdings(stack, load.watched)
            unfinished = await holdings.drained(seconds=DRAIN_SECONDS)
            await load.read_again()
            say("reading what the platform holds")
            more = traces.sightings([one.owner for one in load.watched]) if traces is not None else ()
            happened.held = await holdings.read(unfinished=unfinished, more=more)
    happened.story = read(journal)
    happened.recoveries = samples
    happened.violations += check(happened.story, happened.held) + i8_quick_again(samples)
    return happened


async def _rage(
    stack: Stack, load: Workload, steps: Sequence[Step], happened: Storm, *, seconds: float
) -> list[Recovery]:
    over = asyncio.Event()
    probe = Probe(load.users[0].client)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(over.is_set))
        group.create_task(probe.run(over.is_set))
        await asyncio.sleep(WARM_SECONDS)
        calm = (time.monotonic(), time.monotonic() + CALM_SECONDS)
        say(f"calm for {CALM_SECONDS:.0f} s")
        await asyncio.sleep(CALM_SECONDS)
        until = time.monotonic() + seconds
        try:
            for step in steps:
                if time.monotonic() > until:
                    break
                await _break(stack, step, happened)
        finally:
            over.set()
    return recoveries(probe.samples, happened.spans, calm=calm)


async def _break(stack: Stack, step: Step, happened: Storm) -> None:
    await asyncio.sleep(step.pause)
    name, begun = step.fault.name, time.monotonic()
    try:
        async with asyncio.timeout(FAULT_SECONDS):
            await step.fault.inject(stack, Random(step.seed))
    except CannotRunHere as reason:
        happened.not_run.append(f"{name}: {reason}")
        say(f"NOT RUN {name}: {reason}")
        return
    except Exception as error:  # noqa: BLE001 - a fault that goes wrong is a finding; the storm goes on
        happened.violations.append(
            Violation(invariant="fault", what=f"{name}: {type(error).__name__}: {error}")
        )
        say(f"WRONG {name}: {error!r}")
    repaired = time.monotonic()
    happened.spans.append(Span(fault=name, begun=begun, repaired=repaired))
    say(f"{name} ({repaired - begun:.1f} s)")
    if step.settled:
        await asyncio.sleep(GRACE + WINDOW)
