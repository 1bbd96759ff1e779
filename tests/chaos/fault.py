"""What a fault and a scenario are: the storm (`__main__.py`) runs both and knows nothing more of them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from mesh.stack.settings import StackSettings
from tests.support.stack import Stack

Inject = Callable[[Stack, random.Random], Awaitable[None]]
Prepare = Callable[[StackSettings], Awaitable[None]]


class CannotRunHere(Exception):
    """This machine or this user cannot break that thing: the fault counts as not run, and is told loudly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to break the real thing.

    Attributes:
        name: what the report calls it, such as `kill orchestrator`.
        inject: breaks, repairs, and returns once that is done; the platform then heals by itself. All
            that it chooses, it chooses from the generator that it is given: a seed repeats a run.
            Raises `CannotRunHere`, with the reason, before it has changed anything.
        prepare: what has to be there before the stack is brought up, such as a small file system.
        long_only: it takes too long for the short run, where nobody asks for it by name.
    """

    name: str
    inject: Inject
    prepare: Prepare | None = None
    long_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a scenario found.

    Attributes:
        name: the scenario.
        counts: operations, kills, races, rotations, ...
        figures: what was measured, with units in the names (`takeover_p50_ms`).
        wrong: one line for each violation; empty where all is well.
    """

    name: str
    counts: Mapping[str, int]
    figures: Mapping[str, float] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
