"""The pool of one service's Postgres role, and transactions bound to a tenant.

Row-level security decides by `current_setting('soma.tenant')`, which a
transaction sets for itself alone. There is no way to a statement outside of a
transaction, and none to a transaction with an empty tenant. What a transaction
sets ends with it, so a connection goes back to the pool as it is: a round trip
less than with asyncpg's own reset, and two less for the beginning.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final, TypeAlias

import asyncpg

from mesh.runtime.context import current_or_none
from mesh.runtime.errors import DeadlineExceeded
from mesh.runtime.waiting import until_up

_LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
)
_CONNECT_SECONDS: Final = 3.0
_COMMAND_SECONDS: Final = 10.0
_ACQUIRE_SECONDS: Final = 5.0
_SET_TENANT: Final = "select set_config('soma.tenant', $1, true)"
_SET_ALL: Final = "select set_config('soma.all_tenants', 'on', true)"
# A tenant of these characters needs no quoting, so it may stand in the statement that begins.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)


class Database:
    """A pool of connections; made by `open`, closed with it."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Take a pool; see `open`."""
        self._pool = pool

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        name: str = "soma",
        smallest: int = 1,
        largest: int = 8,
        start_seconds: float = 60.0,
    ) -> AsyncIterator["Database"]:
        """Connect, waiting for a server that is still starting.

        Raises:
            mesh.runtime.errors.DependencyDown: no answer within `start_seconds`.
        """

        async def connect() -> "asyncpg.Pool[asyncpg.Record]":
            return await asyncpg.create_pool(
                url,
                min_size=smallest,
                max_size=largest,
                timeout=_CONNECT_SECONDS,
                command_timeout=_COMMAND_SECONDS,
                statement_cache_size=256,
                max_inactive_connection_lifetime=120.0,
                reset=_as_it_is,
                server_settings={
                    "application_name": name,
                    "statement_timeout": str(int(_COMMAND_SECONDS * 1000)),
                    "lock_timeout": "5000",
                    "idle_in_transaction_session_timeout": "30000",
                    "jit": "off",
                    "standard_conforming_strings": "on",
                },
            )

        pool = await until_up("postgres", connect, retry_on=_LOST, seconds=start_seconds)
        try:
            yield cls(pool)
        finally:
            await _close(pool)

    @contextlib.asynccontextmanager
    async def transaction(self, *, tenant: str, readonly: bool = False) -> AsyncIterator[Connection]:
        """Run a transaction that sees and writes the rows of one tenant only.

        Raises:
            ValueError: `tenant` is empty.
            mesh.runtime.errors.DeadlineExceeded: the call in progress has no time left.
        """
        if not tenant:
            raise ValueError("a transaction needs a tenant")
        plain = _PLAIN.match(tenant) is not None
        begin = _SET_TENANT.replace("$1", f"'{tenant}'") if plain else ""
        async with self._transaction(begin, readonly=readonly) as connection:
            if not plain:
                await connection.execute(_SET_TENANT, tenant)
            yield connection

    @contextlib.asynccontextmanager
    async def transaction_all_tenants(self, *, readonly: bool = False) -> AsyncIterator[Connection]:
        """Run a transaction over all tenants, where a table's policy lets this role do so.

        For login, projections and housekeeping; each table names the roles in its migration.
        """
        async with self._transaction(_SET_ALL, readonly=readonly) as connection:
            yield connection

    async def ping(self) -> None:
        """Return when Postgres answers; for `process.ready_when`."""
        await self._pool.fetchval("select 1", timeout=_CONNECT_SECONDS)

    @contextlib.asynccontextmanager
    async def _transaction(self, setting: str, *, readonly: bool) -> AsyncIterator[Connection]:
        """Begin, with a setting in the same round trip; asyncpg's own object would take one for each."""
        begin = f"begin read only; {setting}" if readonly else f"begin; {setting}"
        async with self._pool.acquire(timeout=_seconds_left()) as connection:
            try:
                await connection.execute(begin)
                yield connection
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("rollback")
                raise
            if await connection.execute("commit") != "COMMIT":
                # A statement failed and its error was swallowed: Postgres rolls back and says so only here.
                raise asyncpg.InFailedSQLTransactionError("the transaction had failed; nothing was committed")


async def _as_it_is(_connection: Connection) -> None:
    """Reset nothing: a transaction's settings and locks are its own, and nobody listens on the pool."""


def _seconds_left() -> float:
    call = current_or_none()
    left = call.remaining() if call is not None else None
    if left is None:
        return _ACQUIRE_SECONDS
    if left <= 0.0:
        raise DeadlineExceeded("DEADLINE_EXCEEDED", "no time is left to reach the database")
    return min(left, _ACQUIRE_SECONDS)


async def _close(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()
