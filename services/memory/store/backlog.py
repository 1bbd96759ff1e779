"""What a crash left behind, whosever it is: unindexed rows, points whose rows are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mesh.storage.database import Database
from services.memory.domain.resources import Memory
from services.memory.store.documents import Indexable, indexable_of
from services.memory.store.memories import memory_of
from services.memory.store.tenancy import tenant
from services.memory.store.vectors import Space

_MEMORIES: Final = """
    select tenant, id from memories
    where not indexed and created_at < clock_timestamp() - make_interval(secs => $1)
    order by created_at limit $2
"""
_INGESTIONS: Final = """
    select i.tenant, i.id from ingestions i join documents d on d.id = i.document_id
    where d.ingestion_id is distinct from i.id
      and i.created_at < clock_timestamp() - make_interval(secs => $1)
    order by i.id limit $2
"""
_REMOVALS: Final = """
    select tenant, collection, point_id from removals
    where created_at < clock_timestamp() - make_interval(secs => $1)
    order by created_at limit $2
"""
_REMOVED: Final = "delete from removals where tenant = $1 and point_id = any($2)"
_TENANTS: Final = "select distinct tenant from memories union select distinct tenant from documents"
_EVERY_MEMORY: Final = """
    select id, text, session_id, labels, created_at from memories
    where tenant = $1 and id > $2 order by id limit $3
"""
_EVERY_PASSAGE: Final = """
    select p.id, p.document_id, i.title, i.source, p.headings, p.text, p.start_at, p.end_at, p.page, i.labels
    from passages p join ingestions i on i.id = p.ingestion_id
    where p.tenant = $1 and p.id > $2 order by p.id limit $3
"""
_OLD_REQUESTS: Final = """
    delete from requests
    where tenant = $1 and created_at < clock_timestamp() - make_interval(secs => $2)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A thing that somebody has to see to."""

    tenant: str
    id: str


class Backlog:
    """Finds over all tenants; changes rows of the tenant of the call in progress only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def memories(self, *, older_than: float, limit: int) -> list[Left]:
        """Give memories that are not indexed."""
        return await self._left(_MEMORIES, older_than, limit)

    async def ingestions(self, *, older_than: float, limit: int) -> list[Left]:
        """Give versions of documents that are neither in force nor dropped."""
        return await self._left(_INGESTIONS, older_than, limit)

    async def removals(self, *, older_than: float, limit: int) -> dict[tuple[str, Space], list[str]]:
        """Give points that are to go, by tenant and collection."""
        async with self._database.transaction_all_tenants(readonly=True) as connection:
            rows = await connection.fetch(_REMOVALS, older_than, limit)
        found: dict[tuple[str, Space], list[str]] = {}
        for row in rows:
            found.setdefault((row["tenant"], Space(row["collection"])), []).append(row["point_id"])
        return found

    async def removed(self, point_ids: Sequence[str]) -> None:
        """Note that points of the tenant are gone."""
        async with self._database.transaction(tenant=tenant()) as connection:
            await connection.execute(_REMOVED, tenant(), list(point_ids))

    async def tenants(self) -> list[str]:
        """Give every tenant that has anything here."""
        async with self._database.transaction_all_tenants(readonly=True) as connection:
            return [row["tenant"] for row in await connection.fetch(_TENANTS)]

    async def every_memory(self, *, after: str, limit: int) -> list[Memory]:
        """Give memories of the tenant in the order of their ids."""
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            rows = await connection.fetch(_EVERY_MEMORY, tenant(), after, limit)
        return [memory_of(row) for row in rows]

    async def every_passage(self, *, after: str, limit: int) -> list[Indexable]:
        """Give passages of the tenant, also of versions that are not in force yet."""
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            rows = await connection.fetch(_EVERY_PASSAGE, tenant(), after, limit)
        return [indexable_of(row) for row in rows]

    async def stale(self, space: Space, ids: Sequence[str]) -> list[str]:
        """Give those ids of the tenant's points that have no row."""
        table = {Space.MEMORIES: "memories", Space.PASSAGES: "passages"}[space]
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            rows = await connection.fetch(
                f"select one from unnest($2::text[]) one where not exists"
                f" (select from {table} t where t.tenant = $1 and t.id = one)",
                *(tenant(), list(ids)),
            )
        return [row["one"] for row in rows]

    async def forget_requests(self, *, older_than: float) -> None:
        """Delete the tenant's request ids that nobody repeats any more."""
        async with self._database.transaction(tenant=tenant()) as connection:
            await connection.execute(_OLD_REQUESTS, tenant(), older_than)

    async def _left(self, statement: str, older_than: float, limit: int) -> list[Left]:
        async with self._database.transaction_all_tenants(readonly=True) as connection:
            rows = await connection.fetch(statement, older_than, limit)
        return [Left(tenant=row["tenant"], id=row["id"]) for row in rows]
