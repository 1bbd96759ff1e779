"""Signing keys and revocations, over all tenants, and the news of their change."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from mesh.storage import Connection
from services.identity.domain.model import Change, Revocation, SigningKey
from services.identity.store.changes import CHANNEL, Writer, Writing

_KEY: Final = "kid, public_jwk, sealed_private_jwk, create_time, sign_time, retire_time, expire_time"
_ROTATION_LOCK: Final = 0x1D_4B_45_59  # any number that nobody else locks
_REVOCATIONS: Final = """
    select token_id, revoke_time, expire_time, version from revocations
    where expire_time > $1 and ($2::timestamptz is null or revoke_time >= $2)
"""
_RETIRE: Final = """
    update signing_keys
    set retire_time = least(retire_time, $2), expire_time = greatest($3, keep_time)
    where kid <> $1 and expire_time > $3
"""


class News:
    """What a listener hears."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()
        self._broken = False

    def come(self) -> None:
        """Something changed."""
        self._heard.set()

    def break_off(self) -> None:
        """The connection ended."""
        self._broken = True
        self._heard.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next news, or after some seconds.

        Raises:
            ConnectionError: there will be no news any more.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), seconds)
        if self._broken:
            raise ConnectionError("the connection that listens for changes ended")
        self._heard.clear()


class Trust:
    """The port `TrustStore` on Postgres."""

    def __init__(self, writer: Writer, url: str) -> None:
        """Read and write with `writer`; listen on a connection of its own to `url`."""
        self._writer = writer
        self._database = writer.database
        self._url = url

    async def signing_keys(self, now: datetime) -> Sequence[SigningKey]:
        """Return the keys whose tokens may still be alive."""
        async with self._database.transaction_all_tenants(readonly=True) as connection:
            return await _alive(connection, now)

    async def add_signing_key(
        self, key: SigningKey, *, only_if_newest: str | None, predecessors_end: datetime, change: Change
    ) -> bool:
        """Keep a key that takes over at its `sign_time` (see the port)."""
        async with self._database.transaction_all_tenants() as connection:
            await connection.execute("select pg_advisory_xact_lock($1)", _ROTATION_LOCK)
            last = await connection.fetchval(
                "select kid from signing_keys order by sign_time desc, kid desc limit 1"
            )
            if last != only_if_newest:
                return False
            await connection.execute(
                f"insert into signing_keys ({_KEY}) values ($1, $2, $3, $4, $5, $6, $7)",
                *(key.kid, key.public_jwk, key.sealed_private_jwk, key.create_time),
                *(key.sign_time, key.retire_time, key.expire_time),
            )
            await connection.execute(_RETIRE, key.kid, key.sign_time, predecessors_end)
            operator = await connection.fetchval("select id from tenants where operator")
            writing = Writing(connection, operator or "")
            if operator:  # the operator's log takes what belongs to no tenant
                await connection.execute("select set_config('soma.tenant', $1, true)", operator)
                await writing.tell(change)
            await writing.wake()
        for envelope in writing.leaving:
            self._writer.leave(envelope)
        return True

    async def revocations(self, *, since: datetime | None, now: datetime) -> tuple[Sequence[Revocation], int]:
        """Return the revocations since a moment, or all that still count, and the highest version."""
        async with self._database.transaction_all_tenants(readonly=True) as connection:
            rows = await connection.fetch(_REVOCATIONS, now, since)
        found = [_revocation_of(row) for row in rows]
        return found, max((row["version"] for row in rows), default=0)

    async def sweep(self) -> int:
        """Delete what ended; return how many rows."""
        swept = 0
        async with self._database.transaction_all_tenants() as connection:
            for table in ("revocations", "refresh_tokens"):
                done = await connection.execute(f"delete from {table} where expire_time < now()")
                swept += int(done.rpartition(" ")[2])
        return swept

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[News]:
        """Listen for changes of keys and revocations, on a connection of its own."""
        news = News()
        connection = await asyncpg.connect(self._url, timeout=5)
        try:
            connection.add_termination_listener(lambda _connection: news.break_off())
            await connection.add_listener(CHANNEL, lambda *_news: news.come())
            yield news
        finally:
            with contextlib.suppress(TimeoutError):
                await connection.close(timeout=2)


async def _alive(connection: Connection, now: datetime) -> list[SigningKey]:
    rows = await connection.fetch(
        f"select {_KEY} from signing_keys where expire_time > $1 order by sign_time", now
    )
    return [SigningKey(**row) for row in rows]


def _revocation_of(row: Any) -> Revocation:
    return Revocation(
        token_id=row["token_id"], revoke_time=row["revoke_time"], expire_time=row["expire_time"]
    )
