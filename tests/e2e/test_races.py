"""Two live workers on one turn damage no text."""

from __future__ import annotations

import pytest

from tests.chaos.scenarios import races, turnlogs
from tests.chaos.scenarios.turnlogs import Raw
from tests.support.stack import Stack


@pytest.mark.timeout(300)
async def test_live_writers_and_woken_workers_leave_one_text_with_one_end(stack: Stack) -> None:
    found = await races.race(stack, seed=1, races=60, pauses=1)
    assert found.wrong == ()
    assert found.counts["claims"] > found.counts["races"]
    assert found.counts["taken over"] > 0


FENCE, EVENT, END = {b"next": b"1"}, {b"e": b"x"}, {b"e": b"x", b"k": b"1"}
WHOLE = [Raw(0, 1, EVENT), Raw(5, 0, FENCE), Raw(5, 2, END)]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (WHOLE, ""),
        ([*WHOLE[:2], Raw(5, 3, END)], "a gap or a repeat"),
        ([*WHOLE[:2], Raw(5, 2, EVENT)], "the ends are"),
        ([*WHOLE, Raw(5, 3, END)], "the ends are"),
        ([WHOLE[0], Raw(5, 0, {b"next": b"0"}), WHOLE[2]], "the fence of 5"),
        ([*WHOLE[:2], Raw(0, 2, END)], "of epoch 0 while 5 holds"),
        ([WHOLE[0], Raw(5, 0, FENCE), Raw(4, 0, FENCE), Raw(4, 2, END)], "do not rise"),
    ],
)
def test_a_damaged_log_is_told_from_a_whole_one(log: list[Raw], words: str) -> None:
    found = turnlogs.damage(log)
    assert any(words in one for one in found) if words else found == []
