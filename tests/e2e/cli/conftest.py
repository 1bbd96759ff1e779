"""The `soma` command as the owner of a fresh tenant."""

from __future__ import annotations

import pytest

from tests.support.stack import Stack
from tests.support.terminal import Soma


@pytest.fixture(scope="session")
async def owner(stack: Stack) -> Soma:
    """The first user of the stack, whose tenant holds the project's documents."""
    return Soma.of(stack, stack.api_key)


@pytest.fixture(scope="session")
async def soma(stack: Stack) -> Soma:
    """The owner of a tenant that these tests share."""
    return Soma.of(stack, (await stack.new_tenant()).api_key)
