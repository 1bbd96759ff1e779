"""What a search found, read from Postgres: points whose rows are gone are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mesh.storage.database import Database
from services.memory.domain.resources import Memory, Passage
from services.memory.store.documents import passage_of
from services.memory.store.memories import memory_of
from services.memory.store.tenancy import tenant

_MEMORIES: Final = """
    select id, text, session_id, labels, created_at from memories where tenant = $1 and id = any($2)
"""
_PASSAGES: Final = """
    select p.id, p.document_id, i.title, i.source, p.headings, p.text, p.start_at, p.end_at, p.page
    from passages p
    join documents d on d.ingestion_id = p.ingestion_id
    join ingestions i on i.id = p.ingestion_id
    where p.tenant = $1 and p.id = any($2)
"""


class KnowledgeStore:
    """Reads memories and passages by their ids, for the tenant of the call in progress."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self, *, memories: Sequence[str] = (), passages: Sequence[str] = ()
    ) -> tuple[dict[str, Memory], dict[str, Passage]]:
        """Give what exists of these, by id; passages of the version in force only."""
        if not memories and not passages:
            return {}, {}
        remembered: dict[str, Memory] = {}
        present: dict[str, Passage] = {}
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            if memories:
                for row in await connection.fetch(_MEMORIES, tenant(), list(memories)):
                    remembered[row["id"]] = memory_of(row)
            if passages:
                for row in await connection.fetch(_PASSAGES, tenant(), list(passages)):
                    present[row["id"]] = passage_of(row)
        return remembered, present
