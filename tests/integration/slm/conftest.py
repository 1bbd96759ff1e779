"""A running slm over mTLS, and tenants that use it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mesh.stack.settings import StackSettings
from tests.support import stack as stacks
from tests.support.identity import Identity, Owner, bootstrapped, channel_as, new_owner
from tests.support.slm import Slm

NEEDED = "postgres,redis,kafka,triton,identity,policy,slm"


@pytest.fixture(scope="session")
async def settings() -> StackSettings:
    """The shared stack, or of it what slm needs."""
    found = stacks.shared_settings()
    await stacks.soma(found, "up", "--only", NEEDED)
    return found


@pytest.fixture(scope="session")
async def identity(settings: StackSettings) -> AsyncIterator[Identity]:
    """Identity as the edge calls it."""
    async with channel_as(settings, "edge") as channel:
        yield Identity(channel)


@pytest.fixture(scope="session")
async def operator(settings: StackSettings) -> Owner:
    """The first tenant's owner."""
    return await bootstrapped(settings)


@pytest.fixture(scope="module")
async def owner(identity: Identity, operator: Owner) -> Owner:
    """A tenant for the tests of one file."""
    return await new_owner(identity, operator)


@pytest.fixture(scope="session")
async def slm(settings: StackSettings) -> AsyncIterator[Slm]:
    """Slm as the edge calls it."""
    async with channel_as(settings, "edge", to="slm") as channel:
        yield Slm(channel)


@pytest.fixture(scope="session")
async def worker(settings: StackSettings) -> AsyncIterator[Slm]:
    """Slm as the slm worker calls it."""
    async with channel_as(settings, "worker-slm", to="slm") as channel:
        yield Slm(channel)
