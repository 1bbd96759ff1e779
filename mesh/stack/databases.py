"""`python -m mesh.stack.databases`: the database `soma`, its schemas and its login roles.

Run by the launcher on a new cluster and whenever the catalogue changes; idempotent. Each service's
role owns nothing: tables belong to `soma_owner`, which runs the migrations, and a role may read and
write the tables of its own schema only. No role bypasses row-level security.
"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg

from mesh.stack.catalogue import WORKLOADS, Kind
from mesh.stack.environment import DATABASE
from mesh.stack.home import Home
from mesh.stack.secret_files import secret

OWNER = "soma_owner"
TIMEOUT = 30.0
Connection = asyncpg.Connection


def role_statements(role: str, password: str, *, exists: bool) -> list[str]:
    """Give the statements that make or correct a login role.

    The password is of URL-safe characters only (see `secret_files`), so it needs no quoting.
    """
    verb = "alter" if exists else "create"
    return [
        f"{verb} role {role} login nosuperuser nocreatedb nocreaterole nobypassrls password '{password}'",
        f"grant connect on database {DATABASE} to {role}",
    ]


def schema_statements(schema: str) -> list[str]:
    """Give the statements that make a service's schema and let its role use it."""
    grant = f"alter default privileges for role {OWNER} in schema {schema} grant"
    return [
        f"create schema if not exists {schema} authorization {OWNER}",
        f"grant usage on schema {schema} to {schema}",
        f"{grant} select, insert, update, delete on tables to {schema}",
        f"{grant} usage, select on sequences to {schema}",
        f"{grant} execute on functions to {schema}",
        f"alter role {schema} set search_path to {schema}",
    ]


async def make(administrator: str, home: Home) -> None:
    """Make or correct database, roles and schemas."""
    connection = await asyncpg.connect(administrator_of(administrator), timeout=TIMEOUT)
    try:
        if not await connection.fetchval("select true from pg_database where datname = $1", DATABASE):
            await connection.execute(f"create database {DATABASE}")
    finally:
        await connection.close()
    connection = await asyncpg.connect(_within(administrator), timeout=TIMEOUT)
    try:
        async with connection.transaction():
            await _roles_and_schemas(connection, home)
    finally:
        await connection.close()


async def _roles_and_schemas(connection: Connection, home: Home) -> None:
    rows = await connection.fetch("select rolname from pg_roles")
    known = {row["rolname"] for row in rows}
    statements: list[str] = []
    for role in (OWNER, *(one.role for one in WORKLOADS)):
        password = secret(home.secrets, f"postgres-{role}")
        statements += role_statements(role, password, exists=role in known)
    statements += [
        f"grant create on database {DATABASE} to {OWNER}",
        f"grant {OWNER} to current_user",
        "revoke all on schema public from public",
        f"revoke all on database {DATABASE} from public",
    ]
    for one in WORKLOADS:
        if one.kind is Kind.SERVICE and one.schema:
            statements += schema_statements(one.role)
    for statement in statements:
        await connection.execute(statement)


def administrator_of(url: str) -> str:
    """Give the same server's database `postgres`, which always exists."""
    return _at(url, "postgres")


def _within(url: str) -> str:
    return _at(url, DATABASE)


def _at(url: str, database: str) -> str:
    scheme, _, rest = url.partition("://")
    place, _, tail = rest.partition("/")
    query = tail.partition("?")[2]
    return f"{scheme}://{place}/{database}" + (f"?{query}" if query else "")


def main() -> int:
    """Run; a failure is one line on stderr and exit code 1."""
    home = Home.from_environment(os.environ)
    try:
        asyncio.run(make(os.environ["SOMA_POSTGRES_ADMIN_URL"], home))
    except (asyncpg.PostgresError, OSError) as error:
        print(f"databases: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
