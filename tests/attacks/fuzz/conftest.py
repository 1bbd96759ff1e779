"""What the fuzzing shares: the count of cases, and a look at every process before and after."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.attacks.fuzz.cases import CASES, SEED, TALLY
from tests.attacks.steadiness import Steadiness
from tests.support.stack import Stack


@pytest.fixture(scope="module")
async def steady(stack: Stack) -> AsyncIterator[None]:
    """Every process is the same one afterwards, ready, and has not grown beyond measure."""
    before = await Steadiness.of(stack)
    yield
    await before.check()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases of each family ran."""
    if TALLY:
        terminalreporter.section(f"fuzzing: {TALLY.total()} cases (asked for {CASES}, seed {SEED})")
        for family, count in sorted(TALLY.items()):
            terminalreporter.write_line(f"{count:>8}  {family}")
