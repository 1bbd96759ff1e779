"""Every scenario: an operation or a race that must be seamless under load; one file each."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Protocol

from tests.chaos.fault import Outcome
from tests.chaos.scenarios import disconnects, races, rolling, rotation, takeover
from tests.support.stack import Stack


class Scenario(Protocol):
    """Runs against a ready stack and leaves it ready; `quick` asks for the short form."""

    def __call__(self, stack: Stack, *, seed: int, quick: bool) -> Awaitable[Outcome]:
        """Run."""
        ...


SCENARIOS: Mapping[str, Scenario] = {
    "rolling": rolling.run,
    "rotation": rotation.run,
    "races": races.run,
    "takeover": takeover.run,
    "disconnects": disconnects.run,
}
