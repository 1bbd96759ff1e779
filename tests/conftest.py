"""Fixtures of every tier."""

from __future__ import annotations

import pytest

from tests.support import stack as stacks


@pytest.fixture(scope="session")
async def stack() -> stacks.Stack:
    """The running stack that all tests share (see `tests/support/stack.py`)."""
    return await stacks.running()
