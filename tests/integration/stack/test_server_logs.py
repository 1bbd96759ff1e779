"""What the servers write into their logs: what went wrong and what was slow, never users' words."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from mesh.stack.environment import Environment
from tests.support.stack import Stack

Statement = Callable[[asyncpg.Connection, str], Awaitable[str]]
SLOW = "select pg_sleep(1.1), $1::text"
SHOWS_ITS_ROW = "insert into pg_temp.refuses values ($1)"


async def slow(connection: asyncpg.Connection, words: str) -> str:
    """Run a statement that is worth a line for its duration; give what the line names."""
    await connection.fetch(SLOW, words)
    return SLOW


async def refused(connection: asyncpg.Connection, words: str) -> str:
    """Write a row that a table refuses; Postgres tells the client of the whole row."""
    await connection.execute("create temporary table refuses (words text check (words = ''))")
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await connection.execute(SHOWS_ITS_ROW, words)
    assert words in str(caught.value.detail)
    return SHOWS_ITS_ROW


@pytest.mark.parametrize("statement", [slow, refused])
async def test_postgres_logs_statements_without_users_words(stack: Stack, statement: Statement) -> None:
    log = stack.settings.home.log_of("postgres")
    words = f"words-{uuid.uuid4().hex}"
    before = log.stat().st_size
    connection = await asyncpg.connect(Environment(stack.settings).postgres_url("postgres"))
    try:
        named = await statement(connection, words)
    finally:
        await connection.close()
    written = log.read_bytes()[before:].decode()
    assert named in written
    assert words not in written
