"""Migrations, row-level security and the pool, on a real Postgres."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from mesh.runtime.errors import ConfigurationError
from mesh.storage import Database
from mesh.storage.migrate import ROOT, migrate, read_migrations
from tests.support.servers import Servers

NOTES = """
create table notes (id text primary key, tenant text not null, words text not null);
alter table notes enable row level security;
alter table notes force row level security;
create policy of_tenant on notes using (tenant = current_setting('soma.tenant', true));
"""


def write(root: Path, name: str, sql: str) -> None:
    folder = root / "memory" / "migrations"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(sql)


@pytest.fixture
async def scratch(servers: Servers, tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """An empty database with the schema `memory`; yields its name and a folder for migrations."""
    name = "scratch"
    await servers.new_database(name, schema="memory")
    return name, tmp_path


@contextlib.asynccontextmanager
async def opened(servers: Servers, database: str, role: str = "memory") -> AsyncIterator[Database]:
    async with Database.open(servers.postgres(role, database), start_seconds=10) as found:
        yield found


async def test_migrations_run_once_and_in_order(servers: Servers, scratch: tuple[str, Path]) -> None:
    name, root = scratch
    owner = servers.postgres("soma_owner", name)
    write(root, "0001_create_notes.sql", NOTES)
    assert [each.number for each in await migrate(owner, root)] == [1]
    write(root, "0002_add_mood.sql", "alter table notes add column mood text")
    assert [each.number for each in await migrate(owner, root)] == [2]
    assert await migrate(owner, root) == []


async def test_two_runs_at_once_are_one(servers: Servers, scratch: tuple[str, Path]) -> None:
    name, root = scratch
    write(root, "0001_create_notes.sql", NOTES + "select pg_sleep(0.3);")
    owner = servers.postgres("soma_owner", name)
    done = await asyncio.gather(*(migrate(owner, root) for _ in range(3)))
    assert sorted(len(each) for each in done) == [0, 0, 1]


async def test_a_failed_migration_leaves_nothing_behind(servers: Servers, scratch: tuple[str, Path]) -> None:
    name, root = scratch
    owner = servers.postgres("soma_owner", name)
    write(root, "0001_create_notes.sql", NOTES + "select no_such_function();")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await migrate(owner, root)
    write(root, "0001_create_notes.sql", NOTES)
    assert len(await migrate(owner, root)) == 1


async def test_an_edited_migration_is_refused(servers: Servers, scratch: tuple[str, Path]) -> None:
    name, root = scratch
    owner = servers.postgres("soma_owner", name)
    write(root, "0001_create_notes.sql", NOTES)
    await migrate(owner, root)
    write(root, "0001_create_notes.sql", NOTES + "-- and more")
    with pytest.raises(ConfigurationError, match="edited"):
        await migrate(owner, root)


async def test_a_table_with_a_tenant_and_no_security_fails_the_run(
    servers: Servers, scratch: tuple[str, Path]
) -> None:
    name, root = scratch
    write(root, "0001_create_notes.sql", "create table notes (tenant text)")
    with pytest.raises(ConfigurationError, match="row-level security"):
        await migrate(servers.postgres("soma_owner", name), root)


async def test_a_transaction_sees_and_writes_one_tenant(servers: Servers, scratch: tuple[str, Path]) -> None:
    name, root = scratch
    write(root, "0001_create_notes.sql", NOTES)
    await migrate(servers.postgres("soma_owner", name), root)
    async with opened(servers, name) as database:
        for tenant in ("ten_a", "ten_b"):
            async with database.transaction(tenant=tenant) as connection:
                await connection.execute("insert into notes values ($1, $2, 'w')", tenant, tenant)
        async with database.transaction(tenant="ten_a") as connection:
            assert await connection.fetchval("select array_agg(tenant) from notes") == ["ten_a"]
            assert await connection.execute("update notes set words = 'x' where id = 'ten_b'") == "UPDATE 0"
            assert await connection.execute("delete from notes where id = 'ten_b'") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction(tenant="ten_a") as connection:
                await connection.execute("insert into notes values ('n', 'ten_b', 'w')")
        async with database.transaction_all_tenants() as connection:
            assert await connection.fetchval("select count(*) from notes") == 0


async def test_an_empty_tenant_has_no_transaction(servers: Servers) -> None:
    async with opened(servers, "soma") as database:
        with pytest.raises(ValueError, match="tenant"):
            async with database.transaction(tenant=""):
                pass


async def test_the_tenant_does_not_outlive_its_transaction(servers: Servers) -> None:
    async with Database.open(servers.postgres("memory"), largest=1) as database:
        async with database.transaction(tenant="ten_a") as connection:
            assert await connection.fetchval("select current_setting('soma.tenant')") == "ten_a"
        async with database.transaction_all_tenants() as connection:
            assert not await connection.fetchval("select current_setting('soma.tenant', true)")


async def test_a_tenant_of_any_name_is_set_as_it_is(servers: Servers) -> None:
    async with opened(servers, "soma") as database:
        for tenant in ("ten_a", "o'brien", "a\\'; drop table x; --", "ünï", "t" * 300):
            async with database.transaction(tenant=tenant, readonly=True) as connection:
                assert await connection.fetchval("select current_setting('soma.tenant')") == tenant


async def test_a_transaction_that_only_reads_may_not_write(
    servers: Servers, scratch: tuple[str, Path]
) -> None:
    name, root = scratch
    write(root, "0001_create_notes.sql", NOTES)
    await migrate(servers.postgres("soma_owner", name), root)
    async with opened(servers, name) as database:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with database.transaction(tenant="ten_a", readonly=True) as connection:
                await connection.execute("insert into notes values ('n', 'ten_a', 'w')")


async def test_a_connection_goes_back_clean_after_an_error_and_a_cancellation(servers: Servers) -> None:
    async with Database.open(servers.postgres("memory"), largest=1) as database:

        async def fails(how: str) -> None:
            async with database.transaction(tenant="ten_a") as connection:
                await connection.execute(how)

        with pytest.raises(asyncpg.DivisionByZeroError):
            await fails("select 1 / 0")
        slow = asyncio.ensure_future(fails("select pg_advisory_xact_lock(7), pg_sleep(30)"))
        await asyncio.sleep(0.2)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        async with database.transaction_all_tenants() as connection:
            assert await connection.fetchval("select pg_try_advisory_xact_lock(7)")
            assert not await connection.fetchval("select current_setting('soma.tenant', true)")


async def test_a_swallowed_failure_is_told_at_the_commit(servers: Servers) -> None:
    async def swallows(database: Database) -> None:
        async with database.transaction(tenant="ten_a") as connection:
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await connection.execute("select 1 / 0")

    async with opened(servers, "soma") as database:
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await swallows(database)


async def test_no_role_of_a_service_may_read_anothers_schema(servers: Servers) -> None:
    async with opened(servers, "soma", "memory") as database:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction_all_tenants() as connection:
                await connection.fetch("select 1 from identity.outbox")


async def test_the_pool_outlives_a_killed_server(servers: Servers) -> None:
    async with opened(servers, "soma") as database:
        await database.ping()
        await servers.kill("postgres")
        assert await _lost_within(database, seconds=2.0)
        await servers.ready("postgres")
        async with database.transaction(tenant="ten_a") as connection:
            assert await connection.fetchval("select 1") == 1


async def _lost_within(database: Database, *, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await database.ping()
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                    return True
    return False


async def test_every_table_of_the_product_with_a_tenant_is_protected(servers: Servers) -> None:
    """Reads and writes of every table, with and without the right tenant."""
    schemas = sorted({each.schema for each in read_migrations(ROOT)})
    owner = await asyncpg.connect(servers.postgres("soma_owner"))
    try:
        tables = await owner.fetch(
            """
            select n.nspname as schema, c.relname as name, c.relrowsecurity and c.relforcerowsecurity as safe
            from pg_class c
            join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped
            where n.nspname = any($1) and c.relkind in ('r', 'p')
            """,
            schemas,
        )
    finally:
        await owner.close()
    assert tables
    assert [f"{row['schema']}.{row['name']}" for row in tables if not row["safe"]] == []
    for row in tables:
        await _assert_walled(servers, row["schema"], row["name"])


async def _assert_walled(servers: Servers, schema: str, table: str) -> None:
    columns = await _required_columns(servers, schema, table)
    names = ", ".join(columns)
    values = ", ".join("'ten_other'" if name == "tenant" else sample for name, sample in columns.items())
    insert = f"insert into {schema}.{table} ({names}) values ({values})"
    async with opened(servers, "soma", schema) as database:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction(tenant="ten_mine") as connection:
                await connection.execute(insert)
        async with database.transaction(tenant="ten_mine") as connection:
            assert not await connection.fetchval(
                f"select count(*) from {schema}.{table} where tenant <> 'ten_mine'"
            )


async def _required_columns(servers: Servers, schema: str, table: str) -> dict[str, str]:
    samples = {"bytea": "''::bytea", "jsonb": "'{}'", "boolean": "false", "ARRAY": "'{}'"}
    connection = await asyncpg.connect(servers.postgres("soma_owner"))
    try:
        rows = await connection.fetch(
            """
            select column_name, data_type from information_schema.columns
            where table_schema = $1 and table_name = $2 and is_generated = 'NEVER'
              and (column_name = 'tenant' or (is_nullable = 'NO' and column_default is null
                                              and is_identity = 'NO'))
            """,
            schema, table,
        )  # fmt: skip
    finally:
        await connection.close()
    found = {}
    for name, kind in rows:
        sample = samples.get(kind, "'x'")
        if kind.startswith(("timestamp", "date")):
            sample = "now()"
        elif kind in ("integer", "bigint", "smallint", "numeric", "double precision", "real"):
            sample = "1"
        found[name] = sample
    return found
