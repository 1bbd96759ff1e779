"""A running audit service over mTLS, and its tables by its own role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from soma.audit.v1 import service_pb2_grpc as rpc

from mesh.runtime.ids import new_id
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from mesh.storage import Database
from services.audit.domain.log import Log
from services.audit.store import PostgresRecords
from tests.support import stack as stacks
from tests.support.identity import channel_as
from tests.support.tokens import Metadata, token_for

NEEDED = "postgres,redis,kafka,identity,policy,audit"
MakeToken = Callable[..., Awaitable[Metadata]]


@pytest.fixture(scope="session")
async def settings() -> StackSettings:
    """The shared stack, or of it what audit needs."""
    found = stacks.shared_settings()
    await stacks.soma(found, "up", "--only", NEEDED)
    return found


@pytest.fixture(scope="session")
async def database(settings: StackSettings) -> AsyncIterator[Database]:
    """Postgres as the audit service's role."""
    async with Database.open(Environment(settings).postgres_url("audit"), largest=16) as opened:
        yield opened


@pytest.fixture(scope="session")
def log(database: Database) -> Log:
    """The log in this process; small batches, so that verification takes several."""
    return Log(PostgresRecords(database), verify_batch=7)


@pytest.fixture
def tenant() -> str:
    """A tenant of the test's own."""
    return new_id("tnt")


@pytest.fixture(scope="session")
async def worker(settings: StackSettings) -> AsyncIterator[rpc.RecordsAsyncStub]:
    """Audit as the projections worker calls it."""
    async with channel_as(settings, "worker-projections", to="audit") as channel:
        yield rpc.RecordsStub(channel)


@pytest.fixture(scope="session")
async def edge(settings: StackSettings) -> AsyncIterator[rpc.RecordsAsyncStub]:
    """Audit as the edge calls it."""
    async with channel_as(settings, "edge", to="audit") as channel:
        yield rpc.RecordsStub(channel)


@pytest.fixture
def token(settings: StackSettings, tenant: str) -> MakeToken:
    """Makes tokens of the test's tenant, or of another."""

    async def make(*scopes: str, of: str = "") -> Metadata:
        return await token_for(settings, of or tenant, *scopes)

    return make
