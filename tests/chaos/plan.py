"""A seed and the list of faults give a schedule: the same ones in the same order with the same choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.fault import Fault
from tests.chaos.faults.processes import PROCESSES

KILLS_OF_EACH = 20
ROUNDS_OF_OTHERS = 3
SETTLED_EVERY = 4
KILLS = frozenset(f"kill {process}" for process in PROCESSES)
PAUSE_LEAST, PAUSE_MOST = 1.0, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault of a schedule.

    Attributes:
        fault: what to break.
        seed: of the generator that the fault chooses by.
        pause: seconds before it.
        settled: wait afterwards until its recovery was measured (I8).
    """

    fault: Fault
    seed: str
    pause: float
    settled: bool


def plan(seed: int, faults: Sequence[Fault], *, long: bool) -> list[Step]:
    """Make a schedule.

    The short one is one round of everything that is not for the long run only; whoever runs it stops when
    its time is over. The long one kills each process 20 times, a round at a time, so that no process dies
    so often within two minutes that the supervisor would give it up.
    """
    choice = Random(seed)
    kills = [one for one in faults if one.name in KILLS]
    others = [one for one in faults if one not in kills and (long or not one.long_only)]
    chosen: list[Fault] = []
    for number in range(KILLS_OF_EACH if long else 1):
        some = [*kills, *(others if number < (ROUNDS_OF_OTHERS if long else 1) else ())]
        choice.shuffle(some)
        chosen += some
    return [
        Step(
            fault=fault, seed=f"{seed} {place}", pause=choice.uniform(PAUSE_LEAST, PAUSE_MOST),
            settled=place % SETTLED_EVERY == 0,
        )
        for place, fault in enumerate(chosen)
    ]  # fmt: skip


def part_of(steps: Sequence[Step], number: int, count: int) -> list[Step]:
    """One of so many parts of a schedule, of like length; together and in order they are the whole."""
    return list(steps[len(steps) * (number - 1) // count : len(steps) * number // count])
