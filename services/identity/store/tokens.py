"""Sign-in: passwords' hashes, refresh tokens, ends of tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from services.identity.domain.model import (
    Change,
    Fact,
    RefreshToken,
    Revocation,
    Tenant,
    User,
)
from services.identity.store.accounts import USER, Accounts, user_of
from services.identity.store.changes import Writer, Writing

_COLUMNS: Final = (
    "digest, family, user_id, scopes, create_time, expire_time, use_time, revoke_time,"
    " access_token_id, access_expire_time"
)
_ADD: Final = """
    insert into refresh_tokens (digest, tenant, family, user_id, scopes, create_time, expire_time,
                                access_token_id, access_expire_time)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_USE: Final = """
    update refresh_tokens set use_time = $3
    where tenant = $1 and digest = $2 and use_time is null and revoke_time is null
    returning digest
"""
_END_FAMILY: Final = """
    update refresh_tokens set revoke_time = coalesce(revoke_time, $3)
    where tenant = $1 and family = $2
    returning access_token_id as token_id, access_expire_time as expire_time
"""
_END_OF: Final = """
    select access_expire_time from refresh_tokens where tenant = $1 and access_token_id = $2
    union all
    select expire_time from api_keys where tenant = $1 and id = $2
    limit 1
"""


class Tokens:
    """The port `SignInStore` on Postgres."""

    def __init__(self, writer: Writer, accounts: Accounts) -> None:
        """Write with `writer`; users and tenants are those of `accounts`."""
        self._writer = writer
        self._database = writer.database
        self._accounts = accounts

    async def user_by_email(self, tenant: str, email: str) -> tuple[User, str] | None:
        """Return the user and the hash of the password."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            row = await connection.fetchrow(
                f"select password_hash, {USER} from users where tenant = $1 and email = $2", tenant, email
            )
        if row is None:
            return None
        columns = dict(row)
        hashed = columns.pop("password_hash")
        return user_of(columns), hashed

    async def user(self, tenant: str, user_id: str) -> User | None:
        """Return a user of the tenant."""
        return await self._accounts.user(tenant, user_id)

    async def tenant(self, tenant: str) -> Tenant | None:
        """Return the tenant, if it exists."""
        return await self._accounts.tenant(tenant)

    async def replace_password_hash(self, tenant: str, user_id: str, old: str, new: str) -> None:
        """Put a hash with newer parameters in the place of the old one."""
        async with self._database.transaction(tenant=tenant) as connection:
            await connection.execute(
                "update users set password_hash = $4 where tenant = $1 and id = $2 and password_hash = $3",
                *(tenant, user_id, old, new),
            )

    async def add_refresh_token(self, tenant: str, token: RefreshToken, change: Change) -> None:
        """Keep the first refresh token of a sign-in."""
        async with self._writer.writing(tenant) as writing:
            await _add(writing, token)
            await writing.tell(change)

    async def refresh_token(self, tenant: str, digest: bytes) -> RefreshToken | None:
        """Return a refresh token, used ones too."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            row = await connection.fetchrow(
                f"select {_COLUMNS} from refresh_tokens where tenant = $1 and digest = $2", tenant, digest
            )
        return _token_of(row) if row else None

    async def use_refresh_token(
        self, tenant: str, digest: bytes, successor: RefreshToken, change: Change
    ) -> bool:
        """Use the token up and keep its successor (see the port)."""
        async with self._writer.writing(tenant) as writing:
            used = await writing.connection.fetchval(_USE, tenant, digest, successor.create_time)
            if used is None:
                return False
            await _add(writing, successor)
            await writing.tell(change)
        return True

    async def revoke_family(self, tenant: str, family: str, now: datetime, fact: Fact) -> None:
        """Revoke every token that one sign-in led to."""
        async with self._writer.writing(tenant) as writing:
            rows = await writing.connection.fetch(_END_FAMILY, tenant, family, now)
            ended = tuple(Revocation(revoke_time=now, **row) for row in rows if row["expire_time"] > now)
            await writing.tell(Change(facts=(fact,), revocations=ended))

    async def token_end(self, tenant: str, token_id: str) -> datetime | None:
        """Return when an access token or API key ends."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            end: datetime | None = await connection.fetchval(_END_OF, tenant, token_id)
        return end

    async def revoke_token(self, tenant: str, change: Change) -> None:
        """Keep the change's revocations; a key among them is marked as revoked."""
        async with self._writer.writing(tenant) as writing:
            for revocation in change.revocations:
                await writing.connection.execute(
                    "update api_keys set revoke_time = $3"
                    " where tenant = $1 and id = $2 and revoke_time is null",
                    *(tenant, revocation.token_id, revocation.revoke_time),
                )
            await writing.tell(change)

    async def tell(self, tenant: str, fact: Fact) -> None:
        """Record a fact that changes nothing."""
        async with self._writer.writing(tenant) as writing:
            await writing.tell(Change(facts=(fact,)))


async def _add(writing: Writing, token: RefreshToken) -> None:
    await writing.connection.execute(
        _ADD,
        *(token.digest, writing.tenant, token.family, token.user_id, sorted(token.scopes)),
        *(token.create_time, token.expire_time, token.access_token_id, token.access_expire_time),
    )


def _token_of(row: Any) -> RefreshToken:
    return RefreshToken(**{**row, "scopes": frozenset(row["scopes"])})
