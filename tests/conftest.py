"""Fixtures of every tier."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from tests.support import stack as stacks
from tests.support.golden import Golden
from tests.support.own import own
from tests.support.servers_fixture import servers

__all__ = ["own", "servers"]

# A shell's background job ignores Ctrl-C, and so would every program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# An example's time says something of the machine, nothing of what is tested.
settings.register_profile("soma", deadline=None)
settings.load_profile("soma")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what goldens need."""
    parser.addoption("--update", action="store_true", help="write golden files anew")


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Golden:
    """Golden files (see `tests/support/golden.py`)."""
    return Golden(update=request.config.getoption("--update"))


@pytest.fixture(scope="session")
async def stack() -> stacks.Stack:
    """The running stack that all tests share (see `tests/support/stack.py`)."""
    return await stacks.running()
