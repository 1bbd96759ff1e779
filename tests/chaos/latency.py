"""I8: how soon the platform is quick again, measured by a light call through the whole storm.

The probe creates sessions at a fixed rate, whatever the answers take (an open loop: a platform that stands
still does not stop the clock). A call that is not answered well counts as endless.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.client import Client
from tests.chaos.held import Violation
from tests.chaos.journal import Outcome

EVERY = 0.125
PATIENCE = 30.0
GRACE = 10.0
BOUND = 1.2
WINDOW = 8.0
LEAST = 40
"""Fewer samples make no 95th percentile."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call: when it was due (monotonic), and its seconds; infinite where it failed."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A fault: from when to when the thing was broken (monotonic)."""

    fault: str
    begun: float
    repaired: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How a fault was got over.

    Attributes:
        fault: its name.
        before: the median of the p95 of the calm windows before the storm, in seconds.
        noise: the greatest of them: what the machine does by itself.
        after: the p95 of the window that begins 10 s after the repair.
    """

    fault: str
    before: float
    noise: float
    after: float

    @property
    def ratio(self) -> float:
        """After by before."""
        return self.after / self.before

    @property
    def late(self) -> bool:
        """Whether it is more than the bound, and more than the machine's noise excuses."""
        return self.after > BOUND * self.noise


class Probe:
    """Calls at a fixed rate until told to stop."""

    def __init__(self, client: Client) -> None:
        """Take the user that it calls as."""
        self._client = client
        self.samples: list[Sample] = []

    async def run(self, until: Callable[[], bool]) -> None:
        """Call, and wait for the last answers."""
        async with asyncio.TaskGroup() as group:
            due = time.monotonic()
            while not until():
                group.create_task(self._one(due))
                due += EVERY
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _one(self, due: float) -> None:
        request = self._client.new_id()
        words = f"{self._client.owner.canary} {request} probe"
        body = {"persona": "bootstrap", "display_name": words, "request_id": request}
        known = await self._client.call(
            "session.create", "POST", "/v1/sessions", body, asked={"words": words}, request_id=request
        )
        answered = known.outcome is Outcome.OK
        self.samples.append(Sample(due, known.seconds if answered else math.inf))


def p95(values: Sequence[float]) -> float:
    """The 95th percentile, by nearest rank (Hyndman and Fan, 1996, definition 1)."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def within(samples: Sequence[Sample], start: float, seconds: float) -> list[float]:
    """The seconds of the calls that were due in a window."""
    return [one.seconds for one in samples if start <= one.at < start + seconds]


def recoveries(
    samples: Sequence[Sample], spans: Sequence[Span], *, calm: tuple[float, float]
) -> list[Recovery]:
    """Compare the window 10 s after each repair with the calm windows before the storm.

    A fault that the next one follows too soon is not judged, nor is one with too few samples.
    """
    windows = []
    start = calm[0]
    while start + WINDOW <= calm[1]:
        values = within(samples, start, WINDOW)
        windows += [p95(values)] if len(values) >= LEAST else []
        start += WINDOW
    if not windows:
        return []
    found = []
    for span in spans:
        begin = span.repaired + GRACE
        if any(span.repaired <= other.begun < begin + WINDOW for other in spans if other is not span):
            continue
        values = within(samples, begin, WINDOW)
        if len(values) >= LEAST:
            before, noise = statistics.median(windows), max(windows)
            found.append(Recovery(fault=span.fault, before=before, noise=noise, after=p95(values)))
    return found


def i8_quick_again(found: Sequence[Recovery]) -> list[Violation]:
    """I8 within 10 s of a repair p95 is back within 1.2x of before.

    Before: calm windows of the same length under the same load. What the machine does by itself shows in
    how far these differ; a recovery is late where it is beyond 1.2 times the worst of them.
    """
    return [
        Violation(
            invariant="I8",
            what=f"{one.fault}: p95 {one.after * 1e3:.0f} ms 10 s after the repair,"
            f" before {one.before * 1e3:.0f} ms (worst calm window {one.noise * 1e3:.0f} ms)",
        )
        for one in found
        if one.late
    ]
