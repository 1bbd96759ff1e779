"""The invariants, and the one place that asks them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tests.chaos.checks.agreement import i7_the_stores_agree
from tests.chaos.checks.effects import (
    i1_what_was_told_ok_exists_once,
    i2_one_request_has_one_effect,
    i3_unknown_is_whole_or_absent,
)
from tests.chaos.checks.governance import i5_every_turn_was_allowed_and_recorded, i6_no_tenant_sees_another
from tests.chaos.checks.streams import i4_streams_are_gap_free_and_equal_the_text
from tests.chaos.held import Held, Violation
from tests.chaos.journal import Story

Invariant = Callable[[Story, Held], Iterable[Violation]]

INVARIANTS: Mapping[str, Invariant] = {
    "I1": i1_what_was_told_ok_exists_once,
    "I2": i2_one_request_has_one_effect,
    "I3": i3_unknown_is_whole_or_absent,
    "I4": i4_streams_are_gap_free_and_equal_the_text,
    "I5": i5_every_turn_was_allowed_and_recorded,
    "I6": i6_no_tenant_sees_another,
    "I7": i7_the_stores_agree,
}
"""I8 asks how soon the platform is quick again: see `latency.py`."""


def check(story: Story, held: Held) -> list[Violation]:
    """Ask all of them."""
    return [violation for invariant in INVARIANTS.values() for violation in invariant(story, held)]
