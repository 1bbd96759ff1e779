"""Clients go away and cancel in every phase of a turn: turns stay whole, and nothing is left over."""

from __future__ import annotations

import pytest

from tests.chaos.scenarios import disconnects
from tests.support.stack import Stack


@pytest.mark.timeout(300)
async def test_turns_go_on_or_are_cancelled_as_the_contract_says_and_nothing_is_left_over(
    stack: Stack,
) -> None:
    found = await disconnects.go_away(stack, seed=1, rounds=1)
    assert found.wrong == ()
    assert found.counts["disconnects"] == 2 * len(disconnects.PHASES)
