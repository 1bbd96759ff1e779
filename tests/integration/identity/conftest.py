"""A running identity over mTLS, and callers of it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from soma.identity.v1 import service_pb2 as pb

from mesh.stack.settings import StackSettings
from tests.support import stack as stacks
from tests.support.identity import (
    PASSWORD,
    Identity,
    MakePerson,
    Owner,
    Person,
    bootstrapped,
    channel_as,
    new_owner,
)

NEEDED = "postgres,redis,kafka,identity,policy"


@pytest.fixture(scope="session")
async def settings() -> StackSettings:
    """The shared stack, or of it what identity needs."""
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


@pytest.fixture
async def owner(identity: Identity, operator: Owner) -> Owner:
    """A new tenant with its owner."""
    return await new_owner(identity, operator)


@pytest.fixture
def new_person(identity: Identity, owner: Owner) -> MakePerson:
    """Makes users of the owner's tenant."""

    async def make(*scopes: str) -> Person:
        email = f"u{uuid.uuid4().hex[:10]}@example.org"
        user = await identity.users.CreateUser(
            pb.CreateUserRequest(email=email, password=PASSWORD, scopes=scopes), metadata=owner.auth
        )
        return Person(owner.tenant, user.id, email)

    return make
