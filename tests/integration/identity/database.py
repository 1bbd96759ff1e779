"""What lies in identity's tables, read as the owner of the tables would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from soma.audit.v1 import resources_pb2 as audit

from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings


@asynccontextmanager
async def connected(settings: StackSettings, role: str = "identity") -> AsyncIterator[Any]:
    """A connection with a role's password."""
    connection = await asyncpg.connect(Environment(settings).postgres_url(role))
    try:
        yield connection
    finally:
        await connection.close()


async def audit_of(settings: StackSettings, tenant: str) -> list[audit.AuditRecord]:
    """The audit records that a tenant's changes put into the outbox, oldest first."""
    async with connected(settings) as connection, connection.transaction():
        await connection.execute("select set_config('soma.tenant', $1, true)", tenant)
        rows = await connection.fetch(
            "select payload from outbox where topic = 'audit.records' order by created_at, id"
        )
    return [audit.AuditRecord.FromString(row["payload"]) for row in rows]
