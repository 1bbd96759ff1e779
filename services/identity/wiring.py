"""Builds identity from its settings."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from soma.identity.v1 import service_pb2_grpc

from mesh.events.publisher import Publisher
from mesh.events.records import Envelope
from mesh.policy.wiring import join_policy
from mesh.runtime.ids import new_id
from mesh.runtime.process import Process
from mesh.sealing import Sealer, read_sealer
from mesh.storage import Database
from mesh.trust.state import TrustState
from mesh.trust.verifier import TokenVerifier
from services.identity.config import Settings, TokenSettings
from services.identity.domain.accounts import Accounts
from services.identity.domain.keys import KeyRotation
from services.identity.domain.signin import SignIn
from services.identity.domain.trust import TrustHub
from services.identity.handlers.api_keys import ApiKeys
from services.identity.handlers.conversion import trust_message
from services.identity.handlers.service_accounts import ServiceAccounts
from services.identity.handlers.tenants import Tenants
from services.identity.handlers.tokens import Tokens
from services.identity.handlers.trust import Trust
from services.identity.handlers.users import Users
from services.identity.passwords import Argon2Passwords
from services.identity.replication import Replication
from services.identity.scopes import read_catalogue
from services.identity.signing import KeyRing, make_key
from services.identity.store.accounts import Accounts as AccountStore
from services.identity.store.changes import Writer
from services.identity.store.tokens import Tokens as TokenStore
from services.identity.store.trust import Trust as TrustStore
from services.identity.throttle import Limits, RedisThrottle


def utc_now() -> datetime:
    """Return the moment."""
    return datetime.now(UTC)


async def build(process: Process, settings: Settings) -> None:
    """Wire the process."""
    sealer = open_sealer(settings)
    database = await process.enter(
        Database.open(settings.postgres_url, name=settings.name, start_seconds=settings.start_seconds)
    )
    publisher = Publisher(settings, database)
    stores = Stores(database, settings.postgres_url, publisher.leave)
    hub, ring = TrustHub(monotonic=time.monotonic), KeyRing(sealer, utc_now)
    rotation = key_rotation(stores.trust, sealer, settings)
    replication = Replication(store=stores.trust, rotation=rotation, hub=hub, ring=ring, now=utc_now)
    await replication.refresh()
    passwords = await process.enter(Argon2Passwords())
    # A restarted Redis leaves dead connections in the pool: each is tried again on a new one.
    again = Retry(ExponentialBackoff(cap=0.2, base=0.01), 3)
    redis = Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2, retry=again)
    await process.enter(contextlib.aclosing(redis))
    accounts = Accounts(
        store=stores.accounts,
        passwords=passwords,
        signer=ring,
        catalogue=read_catalogue(),
        now=utc_now,
        new_id=new_id,
    )
    _serve(process, accounts, _signin(settings, stores, accounts, redis), hub, rotation)
    _verify_with(process, hub)
    # Policy follows this service's keys and this one its bundle: each is served before it is ready.
    join_policy(process)
    process.own(replication.run(), name="replication")
    process.own(publisher.run(), name="publisher")
    process.ready_when("postgres", database.ping)


class Stores:
    """The stores of one database."""

    def __init__(self, database: Database, url: str, leave: Callable[[Envelope], None]) -> None:
        """Make them; `leave` gets what the outbox holds, after each commit."""
        writer = Writer(database, leave)
        self.accounts = AccountStore(writer)
        self.tokens = TokenStore(writer, self.accounts)
        self.trust = TrustStore(writer, url)


def key_rotation(store: TrustStore, sealer: Sealer, settings: TokenSettings) -> KeyRotation:
    """Make the rotation of signing keys."""
    return KeyRotation(
        store=store,
        make_key=lambda: make_key(sealer),
        now=utc_now,
        sign_for=timedelta(days=settings.identity_signing_days),
        lead=timedelta(seconds=settings.identity_key_lead_seconds),
        access_for=timedelta(minutes=settings.identity_access_minutes),
    )


def open_sealer(settings: TokenSettings) -> Sealer:
    """Read the key that seals private keys.

    Raises:
        ConfigurationError: it is not there, or readable by others.
    """
    file, create = settings.key_file()
    return read_sealer(file, create=create)


def _signin(settings: Settings, stores: Stores, accounts: Accounts, redis: Redis) -> SignIn:
    limits = Limits(
        by_user=settings.identity_failures_by_user,
        by_address=settings.identity_failures_by_address,
        window_seconds=settings.identity_failure_window_seconds,
    )
    return SignIn(
        store=stores.tokens,
        passwords=accounts.passwords,
        throttle=RedisThrottle(redis, limits),
        signer=accounts.signer,
        catalogue=accounts.catalogue,
        now=utc_now,
        new_id=new_id,
        random_text=lambda: secrets.token_urlsafe(32),
        access_for=timedelta(minutes=settings.identity_access_minutes),
        refresh_for=timedelta(days=settings.identity_refresh_days),
    )


def _serve(
    process: Process, accounts: Accounts, signin: SignIn, hub: TrustHub, rotation: KeyRotation
) -> None:
    package = "soma.identity.v1"
    rpc = service_pb2_grpc
    process.serve(rpc.add_TenantsServicer_to_server, Tenants(accounts), service=f"{package}.Tenants")
    process.serve(rpc.add_UsersServicer_to_server, Users(accounts), service=f"{package}.Users")
    process.serve(
        rpc.add_ServiceAccountsServicer_to_server,
        ServiceAccounts(accounts),
        service=f"{package}.ServiceAccounts",
    )
    process.serve(rpc.add_ApiKeysServicer_to_server, ApiKeys(accounts), service=f"{package}.ApiKeys")
    process.serve(rpc.add_TokensServicer_to_server, Tokens(signin), service=f"{package}.Tokens")
    process.serve(rpc.add_TrustServicer_to_server, Trust(hub, rotation), service=f"{package}.Trust")


def _verify_with(process: Process, hub: TrustHub) -> None:
    """Verify this service's own callers with the keys of this process."""
    state = TrustState(wall=time.time, monotonic=time.monotonic)
    state.accept(trust_message(hub.everything()))

    async def follow() -> None:
        async with contextlib.aclosing(hub.watch()) as updates:
            async for update in updates:
                state.accept(trust_message(update))

    process.own(follow(), name="trust")
    process.ready_when("trust", state.ready)
    process.authenticate_with(TokenVerifier(state))
