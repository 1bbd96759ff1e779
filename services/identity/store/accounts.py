"""Tenants, users, service accounts and API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from mesh.storage import Connection, Database
from services.identity import errors
from services.identity.domain.model import (
    ApiKey,
    Change,
    Fact,
    Page,
    Request,
    Revocation,
    ServiceAccount,
    Tenant,
    User,
)
from services.identity.store.changes import Writer, Writing

USER: Final = "id, email, display_name, scopes, create_time, disable_time"
_ACCOUNT: Final = "id, display_name, scopes, create_time"
_KEY: Final = "id, display_name, subject, scopes, create_time, expire_time, revoke_time"
_EMAIL: Final = "users_email"
_ADD_USER: Final = f"""
    insert into users (id, tenant, email, display_name, password_hash, scopes, create_time,
                       request_id, request_digest)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    on conflict on constraint users_request do nothing
    returning {USER}
"""
_ADD_ACCOUNT: Final = f"""
    insert into service_accounts (id, tenant, display_name, scopes, create_time,
                                  request_id, request_digest)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict on constraint service_accounts_request do nothing
    returning {_ACCOUNT}
"""
_ADD_KEY: Final = f"""
    insert into api_keys (id, tenant, display_name, subject, scopes, create_time, expire_time,
                          request_id, request_digest)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    on conflict on constraint api_keys_request do nothing
    returning {_KEY}
"""
_KEEP_SIGNER: Final = """
    update signing_keys
    set keep_time = greatest(keep_time, $2), expire_time = greatest(expire_time, $2)
    where kid = $1 and (keep_time is null or keep_time < $2)
    returning kid
"""
_TOKENS_OF_USER: Final = """
    with keys as (
        update api_keys set revoke_time = $3
        where tenant = $1 and subject = $2 and revoke_time is null and expire_time > $3
        returning id, expire_time
    ), chains as (
        update refresh_tokens set revoke_time = coalesce(revoke_time, $3)
        where tenant = $1 and user_id = $2
        returning access_token_id, access_expire_time
    )
    select id as token_id, expire_time from keys
    union all
    select access_token_id, access_expire_time from chains where access_expire_time > $3
"""


class Accounts:
    """The port `AccountStore` on Postgres."""

    def __init__(self, writer: Writer) -> None:
        """Write with `writer`, read from its database."""
        self._writer = writer
        self._database: Database = writer.database

    async def add_tenant(
        self,
        *,
        caller_tenant: str,
        request: Request,
        tenant: Tenant,
        owner: User,
        password_hash: str,
        change: Change,
    ) -> tuple[Tenant, User]:
        """Keep the tenant and its owner (see the port)."""
        async with self._writer.writing(caller_tenant) as writing:
            connection = writing.connection
            added = await connection.fetchval(
                "insert into tenant_creations (tenant, request_id, request_digest, created, owner)"
                " values ($1, $2, $3, $4, $5) on conflict do nothing returning created",
                *(caller_tenant, request.id, request.digest, tenant.id, owner.id),
            )
            if added is None:
                return await self._created_before(connection, caller_tenant, request)
            await writing.tell(change if caller_tenant == tenant.id else _told_by_caller(change))
            await _act_in(connection, tenant.id)
            await connection.execute(
                "insert into tenants (id, display_name, operator, create_time) values ($1, $2, $3, $4)",
                *(tenant.id, tenant.display_name, tenant.operator, tenant.create_time),
            )
            await connection.fetchrow(_ADD_USER, *_user_values(tenant.id, request, owner, password_hash))
            if caller_tenant != tenant.id:
                writing.tenant = tenant.id
                await writing.tell(change)
        return tenant, owner

    async def tenant(self, tenant: str) -> Tenant | None:
        """Return the tenant, if it exists."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            return await _tenant(connection, tenant)

    async def operator_tenant(self) -> Tenant | None:
        """Return the first tenant; over all tenants, since nobody has signed in where it is asked."""
        async with self._database.transaction_all_tenants(readonly=True) as connection:
            row = await connection.fetchrow(
                "select id, display_name, operator, create_time from tenants where operator"
            )
        return Tenant(**row) if row else None

    async def add_user(
        self, tenant: str, request: Request, user: User, password_hash: str, change: Change
    ) -> User:
        """Keep the user (see the port)."""
        try:
            async with self._writer.writing(tenant) as writing:
                row = await writing.connection.fetchrow(
                    _ADD_USER, *_user_values(tenant, request, user, password_hash)
                )
                if row is None:
                    return user_of(await _by_request(writing.connection, "users", USER, tenant, request))
                await writing.tell(change)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == _EMAIL:
                raise errors.email_taken() from error
            raise
        return user_of(row)

    async def user(self, tenant: str, user_id: str) -> User | None:
        """Return a user of the tenant."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            row = await connection.fetchrow(
                f"select {USER} from users where tenant = $1 and id = $2", tenant, user_id
            )
        return user_of(row) if row else None

    async def users(self, tenant: str, page: Page) -> Sequence[User]:
        """Return users, oldest first."""
        return [user_of(row) for row in await self._list("users", USER, tenant, page)]

    async def disable_user(self, tenant: str, user_id: str, now: datetime, fact: Fact) -> User | None:
        """Disable the user and revoke every token of it (see the port)."""
        async with self._writer.writing(tenant) as writing:
            row = await writing.connection.fetchrow(
                f"update users set disable_time = $3 where tenant = $1 and id = $2"
                f" and disable_time is null returning {USER}",
                *(tenant, user_id, now),
            )
            if row is not None:
                tokens = await writing.connection.fetch(_TOKENS_OF_USER, tenant, user_id, now)
                revocations = tuple(Revocation(revoke_time=now, **token) for token in tokens)
                await writing.tell(Change(facts=(fact,), revocations=revocations))
        return user_of(row) if row else await self.user(tenant, user_id)

    async def add_service_account(
        self, tenant: str, request: Request, account: ServiceAccount, change: Change
    ) -> ServiceAccount:
        """Keep the service account (see the port)."""
        async with self._writer.writing(tenant) as writing:
            row = await writing.connection.fetchrow(
                _ADD_ACCOUNT,
                *(account.id, tenant, account.display_name, sorted(account.scopes), account.create_time),
                *(request.id, request.digest),
            )
            if row is None:
                row = await _by_request(writing.connection, "service_accounts", _ACCOUNT, tenant, request)
            else:
                await writing.tell(change)
        return _account_of(row)

    async def service_account(self, tenant: str, account_id: str) -> ServiceAccount | None:
        """Return a service account of the tenant."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            row = await connection.fetchrow(
                f"select {_ACCOUNT} from service_accounts where tenant = $1 and id = $2", tenant, account_id
            )
        return _account_of(row) if row else None

    async def service_accounts(self, tenant: str, page: Page) -> Sequence[ServiceAccount]:
        """Return service accounts, oldest first."""
        rows = await self._list("service_accounts", _ACCOUNT, tenant, page)
        return [_account_of(row) for row in rows]

    async def add_api_key(
        self, tenant: str, request: Request, key: ApiKey, kid: str, change: Change
    ) -> ApiKey:
        """Keep the key, and the signing key until the key's end (see the port)."""
        async with self._writer.writing(tenant) as writing:
            connection = writing.connection
            row = await connection.fetchrow(
                _ADD_KEY,
                *(key.id, tenant, key.display_name, key.subject, sorted(key.scopes)),
                *(key.create_time, key.expire_time, request.id, request.digest),
            )
            if row is None:
                row = await _by_request(connection, "api_keys", _KEY, tenant, request)
            else:
                await writing.tell(change)
            await _keep_signer(writing, kid, row["expire_time"])
        return _key_of(row)

    async def keep_signer(self, kid: str, until: datetime) -> None:
        """Let a signing key verify until then."""
        async with self._database.transaction_all_tenants() as connection:
            await _keep_signer(Writing(connection, ""), kid, until)

    async def api_keys(self, tenant: str, page: Page) -> Sequence[ApiKey]:
        """Return keys, oldest first."""
        return [_key_of(row) for row in await self._list("api_keys", _KEY, tenant, page)]

    async def revoke_api_key(self, tenant: str, key_id: str, now: datetime, fact: Fact) -> ApiKey | None:
        """Revoke the key, once (see the port)."""
        async with self._writer.writing(tenant) as writing:
            connection = writing.connection
            row = await connection.fetchrow(
                f"update api_keys set revoke_time = $3 where tenant = $1 and id = $2"
                f" and revoke_time is null returning {_KEY}",
                *(tenant, key_id, now),
            )
            if row is not None:
                revocation = Revocation(token_id=key_id, revoke_time=now, expire_time=row["expire_time"])
                await writing.tell(Change(facts=(fact,), revocations=(revocation,)))
            else:
                row = await connection.fetchrow(
                    f"select {_KEY} from api_keys where tenant = $1 and id = $2", tenant, key_id
                )
        return _key_of(row) if row else None

    async def _list(self, table: str, columns: str, tenant: str, page: Page) -> list[Any]:
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            return await connection.fetch(
                f"select {columns} from {table} where tenant = $1 and id > $2 order by id limit $3",
                *(tenant, page.after, page.size),
            )

    async def _created_before(
        self, connection: Connection, caller_tenant: str, request: Request
    ) -> tuple[Tenant, User]:
        row = await connection.fetchrow(
            "select request_digest, created, owner from tenant_creations"
            " where tenant = $1 and request_id = $2",
            *(caller_tenant, request.id),
        )
        if row is None or row["request_digest"] != request.digest:
            raise errors.request_reused(request.id)
        await _act_in(connection, row["created"])
        tenant = await _tenant(connection, row["created"])
        owner = await connection.fetchrow(
            f"select {USER} from users where tenant = $1 and id = $2", row["created"], row["owner"]
        )
        if tenant is None or owner is None:
            raise errors.not_found("tenant", row["created"])
        return tenant, user_of(owner)


async def _keep_signer(writing: Writing, kid: str, until: datetime) -> None:
    if await writing.connection.fetchval(_KEEP_SIGNER, kid, until) is not None:
        await writing.wake()


def user_of(row: Any) -> User:
    """Read a user's row."""
    return User(**{**row, "scopes": frozenset(row["scopes"])})


def _account_of(row: Any) -> ServiceAccount:
    return ServiceAccount(**{**row, "scopes": frozenset(row["scopes"])})


def _key_of(row: Any) -> ApiKey:
    return ApiKey(**{**row, "scopes": frozenset(row["scopes"])})


def _user_values(tenant: str, request: Request, user: User, password_hash: str) -> tuple[object, ...]:
    identity = (user.id, tenant, user.email, user.display_name, password_hash)
    return (*identity, sorted(user.scopes), user.create_time, request.id, request.digest)


def _told_by_caller(change: Change) -> Change:
    """The caller's tenant keeps the fact; the event belongs to the new tenant."""
    return Change(facts=change.facts)


async def _act_in(connection: Connection, tenant: str) -> None:
    """Go on in another tenant; only for the one that this transaction itself creates."""
    await connection.execute("select set_config('soma.tenant', $1, true)", tenant)


async def _tenant(connection: Connection, tenant: str) -> Tenant | None:
    row = await connection.fetchrow(
        "select id, display_name, operator, create_time from tenants where id = $1", tenant
    )
    return Tenant(**row) if row else None


async def _by_request(connection: Connection, table: str, columns: str, tenant: str, request: Request) -> Any:
    row = await connection.fetchrow(
        f"select request_digest, {columns} from {table} where tenant = $1 and request_id = $2",
        *(tenant, request.id),
    )
    if row is None or row["request_digest"] != request.digest:
        raise errors.request_reused(request.id)
    return {name: value for name, value in row.items() if name != "request_digest"}
