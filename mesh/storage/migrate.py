"""`python -m mesh.storage.migrate`: bring every schema up to date, forward only.

Migrations are `services/<schema>/migrations/NNNN_verb_subject.sql`. Each runs
once, in a transaction of its own, as the owner of the tables (SOMA_POSTGRES_URL),
under an advisory lock, so that two runs at once are one after the other. A file
that was applied and then edited is refused. After the files every schema gets
its outbox, and the run fails if a table with a tenant is not under row-level
security.
"""

import argparse
import asyncio
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from mesh.runtime.errors import ConfigurationError, DependencyDown
from mesh.runtime.waiting import until_up

ROOT: Final = Path(__file__).resolve().parent.parent.parent / "services"
_OUTBOX: Final = Path(__file__).with_name("outbox.sql")
_NAME: Final = re.compile(r"(?P<number>\d{4})_[a-z][a-z0-9_]*\.sql\Z")
_SCHEMA: Final = re.compile(r"[a-z][a-z0-9_]*\Z")
_LOCK: Final = 0x50_4D_41  # any number that nobody else locks
_LEDGER: Final = """
    create schema if not exists migrations;
    create table if not exists migrations.applied (
        schema text not null, number integer not null, name text not null,
        checksum text not null, applied_at timestamptz not null default now(),
        primary key (schema, number))
"""
_UNPROTECTED: Final = """
    select format('%s.%s', n.nspname, c.relname)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped
    where n.nspname = any($1) and c.relkind in ('r', 'p')
      and not (c.relrowsecurity and c.relforcerowsecurity
               and exists (select from pg_policy p where p.polrelid = c.oid))
"""


@dataclass(frozen=True, slots=True, order=True)
class Migration:
    """One file."""

    schema: str
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells an edited file from the applied one."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(root: Path) -> list[Migration]:
    """Return every migration below `root`, in their order.

    Raises:
        ConfigurationError: a file is not named NNNN_verb_subject.sql, or a number stands twice.
    """
    found: dict[tuple[str, int], Migration] = {}
    for file in sorted(root.glob("*/migrations/*.sql")):
        schema = file.parent.parent.name
        named = _NAME.match(file.name)
        if named is None or not _SCHEMA.match(schema):
            raise ConfigurationError(f"{file} is not <schema>/migrations/NNNN_verb_subject.sql")
        key = (schema, int(named["number"]))
        if key in found:
            raise ConfigurationError(f"{file} and {found[key].name} have the same number")
        found[key] = Migration(*key, file.name, file.read_text(encoding="utf-8"))
    return sorted(found.values())


def pending(migrations: Sequence[Migration], applied: dict[tuple[str, int], str]) -> Iterator[Migration]:
    """Yield what is to be applied, given the checksums of what was.

    Raises:
        ConfigurationError: an applied file was edited, removed, or overtaken by a lower number.
    """
    known = {(each.schema, each.number) for each in migrations}
    if gone := sorted(set(applied) - known):
        raise ConfigurationError(f"applied migrations are not there any more: {gone}")
    highest = {schema: 0 for schema, _ in known}
    for schema, number in applied:
        highest[schema] = max(highest[schema], number)
    for each in migrations:
        checksum = applied.get((each.schema, each.number))
        if checksum is None and each.number < highest[each.schema]:
            raise ConfigurationError(f"{each.schema}/{each.name} comes after a higher number")
        if checksum is None:
            yield each
        elif checksum != each.checksum:
            raise ConfigurationError(f"{each.schema}/{each.name} was edited after it was applied")


async def migrate(url: str, root: Path = ROOT) -> list[Migration]:
    """Apply what is pending and return it.

    Raises:
        ConfigurationError: see `read_migrations` and `pending`; or a table is unprotected.
        asyncpg.PostgresError: a statement failed; its file left nothing behind.
    """
    migrations = read_migrations(root)
    schemas = sorted({each.schema for each in migrations})
    connection = await until_up(
        "postgres", lambda: asyncpg.connect(url, timeout=5), retry_on=(OSError,), seconds=30
    )
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        rows = await connection.fetch("select schema, number, checksum from migrations.applied")
        applied = {(row["schema"], row["number"]): row["checksum"] for row in rows}
        todo = list(pending(migrations, applied))
        for each in todo:
            await _apply(connection, each)
        for schema in schemas:
            await _run(connection, schema, _OUTBOX.read_text("utf-8").replace("{schema}", schema))
        unprotected = [row[0] for row in await connection.fetch(_UNPROTECTED, schemas)]
        if unprotected:
            raise ConfigurationError(f"no forced row-level security on {unprotected}")
        return todo
    finally:
        await connection.close(timeout=5)


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    async with connection.transaction():
        await _run(connection, migration.schema, migration.sql)
        await connection.execute(
            "insert into migrations.applied (schema, number, name, checksum) values ($1, $2, $3, $4)",
            *(migration.schema, migration.number, migration.name, migration.checksum),
        )


async def _run(connection: "asyncpg.Connection[asyncpg.Record]", schema: str, sql: str) -> None:
    async with connection.transaction():
        await connection.execute(f"create schema if not exists {schema}")
        await connection.execute(f"set local search_path = {schema}")
        await connection.execute("set local lock_timeout = '5s'")
        await connection.execute(sql)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a failure is one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m mesh.storage.migrate", description=__doc__)
    parser.add_argument("--url", default=os.environ.get("SOMA_POSTGRES_URL"))
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of services")
    options = parser.parse_args(arguments)
    if not options.url:
        parser.error("give --url or SOMA_POSTGRES_URL: the owner of the tables")
    try:
        done = asyncio.run(migrate(options.url, options.root))
    except (ConfigurationError, DependencyDown, asyncpg.PostgresError, OSError) as error:
        print(f"migrate: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for each in done:
        print(f"applied {each.schema}/{each.name}")
    print(f"{len(done)} migrations applied")
    return 0


if __name__ == "__main__":
    sys.exit(main())
