"""What lies in slm's tables for a tenant."""

from __future__ import annotations

from typing import Any

import asyncpg

from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings


async def rows_of(settings: StackSettings, tenant: str, table: str) -> list[Any]:
    """The rows that a transaction of the tenant sees."""
    connection = await asyncpg.connect(Environment(settings).postgres_url("slm"))
    try:
        async with connection.transaction():
            await connection.execute("select set_config('soma.tenant', $1, true)", tenant)
            return await connection.fetch(f"select * from {table}")
    finally:
        await connection.close()
