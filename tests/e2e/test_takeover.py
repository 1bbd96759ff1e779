"""A worker dies in mid-stream beside another one."""

from __future__ import annotations

import pytest

from tests.chaos.scenarios import takeover
from tests.support.stack import Stack


@pytest.mark.timeout(300)
async def test_the_streams_of_a_dead_worker_are_taken_over_byte_for_byte(stack: Stack) -> None:
    found = await takeover.kill(stack, 1)
    assert found.wrong == ()
    assert found.counts["taken over"] > 0
