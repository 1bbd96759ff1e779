"""Rule sets in Postgres, and the news of them over LISTEN/NOTIFY."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from google.protobuf.message import DecodeError
from soma.policy.v1 import resources_pb2 as pb

from mesh.policy import BundleRefusedError, Rule
from mesh.policy.rules import parse_rule, rule_message
from mesh.runtime.logging import get_logger
from mesh.storage import Connection, Database
from services.policy.domain.rule_set import RuleSet
from services.policy.errors import RuleSetRefusedError

_LATEST: Final = "select version, rules, digest from rule_sets order by version desc limit 1"
_INSERT: Final = "insert into rule_sets (version, rules, digest, origin) values ($1, $2, $3, $4)"
_LOCK: Final = "select pg_advisory_xact_lock(hashtext('policy.rule_sets'))"
_CHANNEL: Final = "policy_rule_sets"
_CONNECT_SECONDS: Final = 3.0
_LOOK_WITHOUT_NEWS: Final = 2.0
_log = get_logger(__name__)


class PostgresRuleSets:
    """The versions, in schema `policy`."""

    def __init__(self, database: Database, news: "News") -> None:
        """Take the pool, and where news of a version come from."""
        self._database = database
        self._news = news

    async def latest(self) -> RuleSet | None:
        """Return the newest version; None before the first.

        Raises:
            RuleSetRefusedError: a rule in it is not understood by this release.
        """
        async with self._database.transaction_all_tenants(readonly=True) as connection:
            row = await connection.fetchrow(_LATEST)
        return None if row is None else _read(row["version"], row["rules"])

    async def install(self, rules: Sequence[Rule], *, origin: str) -> RuleSet:
        """Make these rules the newest version, unless they are it already; return it."""
        serialized = _write(rules)
        async with self._database.transaction_all_tenants() as connection:
            await connection.execute(_LOCK)
            version = await _install(connection, serialized, origin)
        return RuleSet(version=version, rules=tuple(rules))

    async def changed(self, *, within: float) -> None:
        """Return when somebody installed a version, or after so many seconds."""
        await self._news.wait(within=within)


async def _install(connection: Connection, serialized: bytes, origin: str) -> int:
    digest = hashlib.sha256(serialized).digest()
    row = await connection.fetchrow(_LATEST)
    version: int = row["version"] if row else 0
    if row and row["digest"] == digest:
        return version
    await connection.execute(_INSERT, version + 1, serialized, digest, origin)
    return version + 1


def _write(rules: Sequence[Rule]) -> bytes:
    return pb.Bundle(rules=map(rule_message, rules)).SerializeToString(deterministic=True)


def _read(version: int, serialized: bytes) -> RuleSet:
    try:
        rules = tuple(map(parse_rule, pb.Bundle.FromString(serialized).rules))
    except (BundleRefusedError, DecodeError) as error:
        raise RuleSetRefusedError(f"version {version}: {error}") from error
    return RuleSet(version=version, rules=rules)


class News:
    """Hears when a version was installed; looks every 2 s while it cannot hear."""

    def __init__(self, url: str) -> None:
        """Take the address; it connects at the first `wait`."""
        self._url = url
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._heard = asyncio.Event()

    async def __aenter__(self) -> "News":
        """Begin to hear."""
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(timeout=_CONNECT_SECONDS)

    async def wait(self, *, within: float) -> None:
        """Return at the next news, or after so many seconds."""
        if self._connection is None:
            await self._listen()
            within = within if self._connection else min(within, _LOOK_WITHOUT_NEWS)
        try:
            async with asyncio.timeout(within):
                await self._heard.wait()
        except TimeoutError:
            return
        self._heard.clear()

    async def _listen(self) -> None:
        try:
            connection = await asyncpg.connect(self._url, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _log.warning("no news of rule sets", cause=f"{type(error).__name__}: {error}")
            return
        self._connection = connection
        connection.add_termination_listener(self._lost)
        try:
            await connection.add_listener(_CHANNEL, self._told)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()
        self._heard.set()  # something may have been missed before

    def _told(self, *_: Any) -> None:
        self._heard.set()

    def _lost(self, connection: object) -> None:
        if connection is self._connection:
            self._connection = None
        self._heard.set()
