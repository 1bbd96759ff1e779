"""Chains in Postgres."""

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
from soma.audit.v1.resources_pb2 import AuditRecord

from mesh.storage import Connection, Database
from services.audit.domain.chain import Head, Link, extend
from services.audit.ports import Filter

_COLUMNS: Final = "index, record, hash, previous_hash, id, action, resource"
# Released with the transaction; the tenant's own lock, so that tenants do not wait for each other.
_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('audit.records ' || $1, 0))"
_HEAD: Final = "select index, hash from records where tenant = $1 order by index desc limit 1"
_KNOWN: Final = f"select {_COLUMNS} from records where tenant = $1 and id = any($2)"
_GET: Final = f"select {_COLUMNS} from records where tenant = $1 and id = $2"
_AFTER: Final = f"""
    select {_COLUMNS} from records
    where tenant = $1 and index > $2 and ($3 = '' or resource = $3) and ($4 = '' or action = $4)
    order by index
    limit $5
"""
_INSERT: Final = f"""
    insert into records (tenant, {_COLUMNS})
    select $1, * from unnest(
        $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::text[])
"""


class PostgresRecords:
    """The records, in schema `audit`."""

    def __init__(self, database: Database) -> None:
        """Take the pool."""
        self._database = database

    async def append(self, tenant: str, records: Sequence[AuditRecord]) -> Mapping[str, Link]:
        """Put the records that are not there at the chain's end, in order; give all places by id."""
        async with self._database.transaction(tenant=tenant) as connection:
            await connection.execute(_LOCK, tenant)
            rows = await connection.fetch(_KNOWN, tenant, [record.id for record in records])
            places = {row["id"]: _link(row) for row in rows}
            fresh = [record for record in records if record.id not in places]
            if fresh:
                links = tuple(extend(await _head(connection, tenant), fresh))
                await connection.execute(_INSERT, tenant, *zip(*map(_row, links), strict=True))
                places.update((link.id, link) for link in links)
        return places

    async def get(self, tenant: str, record_id: str) -> Link | None:
        """Give a record by its id."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            row = await connection.fetchrow(_GET, tenant, record_id)
        return None if row is None else _link(row)

    async def after(self, tenant: str, index: int, *, limit: int, wanted: Filter) -> Sequence[Link]:
        """Give the records after an index, oldest first."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            rows = await connection.fetch(_AFTER, tenant, index, wanted.resource, wanted.action, limit)
        return [_link(row) for row in rows]

    async def head(self, tenant: str) -> Head:
        """Give the chain's end."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            return await _head(connection, tenant)


async def _head(connection: Connection, tenant: str) -> Head:
    row = await connection.fetchrow(_HEAD, tenant)
    return Head() if row is None else Head(row["index"], row["hash"])


def _link(row: asyncpg.Record) -> Link:
    return Link(*row)


def _row(link: Link) -> tuple[int, bytes, bytes, bytes, str, str, str]:
    return (link.index, link.record, link.hash, link.previous_hash, link.id, link.action, link.resource)
