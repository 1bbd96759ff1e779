"""A running policy service over mTLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import grpc.aio
import pytest
from soma.policy.v1 import service_pb2_grpc as rpc

from mesh.runtime.ids import new_id
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from mesh.storage import Database
from tests.support import stack as stacks
from tests.support.identity import channel_as
from tests.support.tokens import Metadata, token_for

NEEDED = "postgres,redis,kafka,identity,policy"
MakeToken = Callable[..., Awaitable[Metadata]]
Decisions: TypeAlias = "rpc.DecisionsAsyncStub"


@pytest.fixture(scope="session")
async def settings() -> StackSettings:
    """The shared stack, or of it what policy needs."""
    found = stacks.shared_settings()
    await stacks.soma(found, "up", "--only", NEEDED)
    return found


@pytest.fixture(scope="session")
async def database(settings: StackSettings) -> AsyncIterator[Database]:
    """Postgres as the policy service's role."""
    async with Database.open(Environment(settings).postgres_url("policy"), largest=4) as opened:
        yield opened


@pytest.fixture
async def channel(settings: StackSettings) -> AsyncIterator[grpc.aio.Channel]:
    """The channel of a workload that decides."""
    async with channel_as(settings, "memory", to="policy") as opened:
        yield opened


@pytest.fixture(scope="session")
async def decisions(settings: StackSettings) -> AsyncIterator[Decisions]:
    """Policy as the edge calls it."""
    async with channel_as(settings, "edge", to="policy") as opened:
        yield rpc.DecisionsStub(opened)


@pytest.fixture
def tenant() -> str:
    """A tenant of the test's own."""
    return new_id("tnt")


@pytest.fixture
def token(settings: StackSettings, tenant: str) -> MakeToken:
    """Makes tokens of the test's tenant."""

    async def make(*scopes: str) -> Metadata:
        return await token_for(settings, tenant, *scopes)

    return make
