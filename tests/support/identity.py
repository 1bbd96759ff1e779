"""Identity from the outside: channels by workload, tenants and people of a test's own."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from soma.identity.v1 import service_pb2 as pb
from soma.identity.v1 import service_pb2_grpc as rpc

from mesh.runtime.status import RemoteFailure, read
from mesh.stack.bring_up import first_run_environment
from mesh.stack.settings import StackSettings
from tests.support.stack import address_of

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Identity:
    """The stubs of one workload's channel to identity."""

    channel: grpc.aio.Channel

    @property
    def tenants(self) -> rpc.TenantsAsyncStub:
        return rpc.TenantsStub(self.channel)

    @property
    def users(self) -> rpc.UsersAsyncStub:
        return rpc.UsersStub(self.channel)

    @property
    def accounts(self) -> rpc.ServiceAccountsAsyncStub:
        return rpc.ServiceAccountsStub(self.channel)

    @property
    def keys(self) -> rpc.ApiKeysAsyncStub:
        return rpc.ApiKeysStub(self.channel)

    @property
    def tokens(self) -> rpc.TokensAsyncStub:
        return rpc.TokensStub(self.channel)

    @property
    def trust(self) -> rpc.TrustAsyncStub:
        return rpc.TrustStub(self.channel)


@dataclass(frozen=True)
class Owner:
    """The owner of a tenant of the test's own."""

    tenant: str
    user: str
    email: str
    key: str = field(repr=False)

    @property
    def auth(self) -> tuple[tuple[str, str], ...]:
        return bearer(self.key)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with a token."""
    return (("authorization", f"Bearer {token}"),)


@dataclass(frozen=True)
class Person:
    """A user with a password."""

    tenant: str
    user: str
    email: str

    def grant(self, password: str = PASSWORD, *scopes: str) -> pb.IssueTokenRequest:
        return pb.IssueTokenRequest(
            password=pb.PasswordGrant(tenant_id=self.tenant, email=self.email, password=password),
            scopes=scopes,
        )


def seen_from(address: str) -> tuple[tuple[str, str], ...]:
    """The metadata with which the edge tells a client's address."""
    return (("x-forwarded-for", f"203.0.113.9, {address}"),)


MakePerson = Callable[..., Awaitable[Person]]


def channel_as(settings: StackSettings, workload: str, *, to: str = "identity") -> grpc.aio.Channel:
    """A channel to a service with a workload's certificate."""
    folder: Path = settings.home.pki / workload
    credentials = grpc.ssl_channel_credentials(
        *((folder / name).read_bytes() for name in ("ca.pem", "key.pem", "cert.pem"))
    )
    options = (("grpc.ssl_target_name_override", f"{to}.soma"),)
    return grpc.aio.secure_channel(address_of(settings, to), credentials, options)


async def bootstrapped(settings: StackSettings, *arguments: str) -> Owner:
    """What identity's own command makes or finds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.identity.bootstrap", *arguments),
        env=first_run_environment(settings),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    made = json.loads(out)
    return Owner(made["tenant"], made["user"], made["email"], made["api_key"])


async def new_owner(identity: Identity, operator: Owner) -> Owner:
    """Make a tenant as the operator, sign its owner in and make a key."""
    email = f"owner-{uuid.uuid4().hex[:10]}@example.org"
    made = await identity.tenants.CreateTenant(
        pb.CreateTenantRequest(display_name="Test", owner_email=email, owner_password=PASSWORD),
        metadata=operator.auth,
    )
    person = Person(made.tenant.id, made.owner.id, email)
    issued = await identity.tokens.IssueToken(person.grant())
    key = await identity.keys.CreateApiKey(
        pb.CreateApiKeyRequest(display_name="test"), metadata=bearer(issued.access_token)
    )
    return Owner(made.tenant.id, made.owner.id, email, key.secret)


async def failure(call: Awaitable[object]) -> RemoteFailure:
    """The failure that a call must end with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return read(error)
    raise AssertionError(f"was not refused: {answer}")
