"""What was acknowledged beside a fault is there after it, and the platform comes back by itself.

By default the quick ones; `SOMA_TEST_FAULTS=all`, or names separated by commas, for others, and
`SOMA_TEST_SEED` for another order of what they choose.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos.acknowledged import acknowledged
from tests.chaos.fault import Fault
from tests.chaos.faults import FAULTS
from tests.support.stack import Stack

ALL = {one.name: one for one in FAULTS}
QUICK = (
    "partition worker-slm from redis",
    "full disk of redis",
    "wrong clock of orchestrator",
    "wrong clock of redis",
    "postgres ends at once in mid-transaction",
    "kill redis right after a write",
    "control plane away",
    "drain and replace envoy",
    "rewind orchestrator",
    "abandoned streams",
)


def chosen() -> list[Fault]:
    given = os.environ.get("SOMA_TEST_FAULTS", "")
    names = ALL if given == "all" else [one.strip() for one in given.split(",") if one] or QUICK
    return [ALL[name] for name in names]


@pytest.mark.parametrize("fault", chosen(), ids=lambda one: one.name.replace(" ", "-"))
async def test_what_was_acknowledged_is_there_afterwards(stack: Stack, fault: Fault) -> None:
    choice = random.Random(int(os.environ.get("SOMA_TEST_SEED", "7")))
    async with acknowledged(stack) as work:
        await fault.inject(stack, choice)
    print(
        f"{fault.name}: {len(work.turns)} turns, statuses {dict(work.statuses)},"
        f" {sum(one.breaks for one in work.turns)} breaks"
    )
