"""Documents and their passages in Postgres.

A document is a name (its source) for its present version, an `ingestion`. A version is written
whole, indexed, and only then put in the place of the one before, in one transaction: a reader sees
the old passages or the new ones, never a mixture and never none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mesh.events import outbox
from mesh.events.records import Envelope
from mesh.storage.database import Connection, Database
from services.memory.domain.resources import Document, Passage
from services.memory.events import Event, Origin
from services.memory.store import requests
from services.memory.store.requests import Request
from services.memory.store.tenancy import tenant
from services.memory.store.vectors import Space

_COLUMNS: Final = """
    d.id, i.title, i.source, i.media_type, i.digest, i.labels, i.passage_count, i.created_at
"""
_PRESENT: Final = f"""
    select {_COLUMNS} from documents d join ingestions i on i.id = d.ingestion_id
    where d.tenant = $1
"""
_VERSION: Final = f"""
    select {_COLUMNS}, i.actor, i.request_id, i.decision_id, i.policy_version,
        d.ingestion_id = i.id as present
    from ingestions i join documents d on d.id = i.document_id
    where i.tenant = $1 and i.id = $2
"""
_NAME: Final = """
    with made as (
        insert into documents (id, tenant, key, created_at) values ($1, $2, $3, $4)
        on conflict (tenant, key) do nothing
        returning id
    )
    select id from made union all select id from documents where tenant = $2 and key = $3 limit 1
"""
_INSERT: Final = """
    insert into ingestions (id, tenant, document_id, title, source, media_type, digest, labels,
                            passage_count, actor, request_id, decision_id, policy_version,
                            created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""
_PASSAGES: Final = """
    insert into passages (id, tenant, document_id, ingestion_id, ordinal, headings, text, start_at,
                          end_at, page)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_UNINDEXED: Final = """
    select p.id, p.document_id, i.title, i.source, p.headings, p.text, p.start_at, p.end_at, p.page, i.labels
    from passages p join ingestions i on i.id = p.ingestion_id
    where p.tenant = $1 and p.ingestion_id = $2 and not p.indexed
    order by length(p.text), p.ordinal limit $3
"""
_INDEXED: Final = "update passages set indexed = true where tenant = $1 and id = any($2) and not indexed"
_PRESENT_NOW: Final = """
    update documents set ingestion_id = $3
    where tenant = $1 and id = $2 and (ingestion_id is null or ingestion_id < $3)
    returning id
"""
_OLDER: Final = """
    select id from ingestions where tenant = $1 and document_id = $2 and id < $3
"""
_REMOVALS: Final = """
    insert into removals (point_id, tenant, collection)
    select id, tenant, $3 from passages where tenant = $1 and ingestion_id = any($2)
    on conflict do nothing
"""
_DELETE_VERSIONS: Final = "delete from ingestions where tenant = $1 and id = any($2)"
_VERSIONS: Final = "select id from ingestions where tenant = $1 and document_id = $2"
_LOCK: Final = """
    select id from documents where tenant = $1 and id = $2 and ingestion_id is not null for update
"""
_DELETE: Final = "delete from documents where tenant = $1 and id = $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a document that is to be written.

    Attributes:
        id: of the version.
        document: as it will be; its id is a proposal that holds where the key is new.
        key: what the document is known by.
        origin: who ingests it, and by which decision.
        passages: in order.
    """

    id: str
    document: Document
    key: str
    origin: Origin
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a version stands."""

    ingestion_id: str
    document: Document
    origin: Origin
    present: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexable:
    """A passage that the vector store does not hold yet."""

    passage: Passage
    labels: dict[str, str]


def document_of(row: Any) -> Document:
    """Read a row."""
    return Document(
        id=row["id"],
        title=row["title"],
        source=row["source"],
        media_type=row["media_type"],
        digest=row["digest"],
        passage_count=row["passage_count"],
        labels=json.loads(row["labels"]),
        created_at=row["created_at"],
    )


def passage_of(row: Any) -> Passage:
    """Read a row."""
    return Passage(
        id=row["id"],
        document_id=row["document_id"],
        title=row["title"],
        source=row["source"],
        headings=tuple(row["headings"]),
        text=row["text"],
        start=row["start_at"],
        end=row["end_at"],
        page=row["page"],
    )


def indexable_of(row: Any) -> Indexable:
    """Read a row."""
    return Indexable(passage=passage_of(row), labels=json.loads(row["labels"]))


class DocumentStore:
    """Rows of documents of the tenant of the call in progress."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def made_by(self, request: Request) -> str | None:
        """Give the version that a request made already, by id.

        Raises:
            AlreadyExists: the request id stands for another request.
        """
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            return await requests.find(connection, tenant=tenant(), request=request)

    async def stage(self, version: Version, *, request: Request) -> str:
        """Write a version that nobody sees yet; give its id, or that of what stands for it.

        The same content under the same key with the same title and labels is not written again: the
        request then stands for the present version.

        Raises:
            AlreadyExists: the request id stands for another request.
        """
        async with self._database.transaction(tenant=tenant()) as connection:
            document = version.document
            document_id = await connection.fetchval(
                _NAME, document.id, tenant(), version.key, document.created_at
            )
            if document_id is None:  # made by a transaction that this one cannot see yet
                document_id = await connection.fetchval(
                    "select id from documents where tenant = $1 and key = $2", tenant(), version.key
                )
            # One after the other from here: two versions of one document do not pass each other.
            await connection.execute(
                "select from documents where tenant = $1 and id = $2 for update", tenant(), document_id
            )
            same = await _same(connection, document_id, document)
            made = await requests.claim(
                connection, tenant=tenant(), request=request, resource_id=same or version.id
            )
            if made is not None:
                return made
            if same is not None:
                return same
            await _write(connection, version, document_id=document_id, request_id=request.id)
            return version.id

    async def standing(self, ingestion_id: str) -> Standing | None:
        """Tell where a version stands; None where it is gone."""
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            row = await connection.fetchrow(_VERSION, tenant(), ingestion_id)
        if row is None:
            return None
        return Standing(
            ingestion_id=ingestion_id,
            document=document_of(row),
            origin=Origin(
                actor=row["actor"],
                request_id=row["request_id"],
                decision_id=row["decision_id"],
                policy_version=row["policy_version"],
            ),
            present=bool(row["present"]),
        )

    async def unindexed(self, ingestion_id: str, *, limit: int) -> list[Indexable]:
        """Give passages of a version that the vector store does not hold yet."""
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            rows = await connection.fetch(_UNINDEXED, tenant(), ingestion_id, limit)
        return [indexable_of(row) for row in rows]

    async def mark_indexed(self, passage_ids: Sequence[str]) -> None:
        """Note that the vector store holds these."""
        async with self._database.transaction(tenant=tenant()) as connection:
            await connection.execute(_INDEXED, tenant(), list(passage_ids))

    async def present(
        self, standing: Standing, *, events: Callable[[], Sequence[Event]]
    ) -> tuple[Envelope, ...]:
        """Put an indexed version in the place of the ones before; nothing where a newer one is there."""
        async with self._database.transaction(tenant=tenant()) as connection:
            document_id, ingestion_id = standing.document.id, standing.ingestion_id
            put = await connection.fetchval(_PRESENT_NOW, tenant(), document_id, ingestion_id)
            told: list[Envelope] = []
            if put is not None:
                told = [await outbox.put(connection, event) for event in events()]
            rows = await connection.fetch(_OLDER, tenant(), document_id, ingestion_id)
            older = [row["id"] for row in rows]
            if put is None:
                older = [ingestion_id] if not await _is_present(connection, ingestion_id) else []
            await _drop_versions(connection, older)
            return tuple(told)

    async def get(self, document_id: str) -> Document | None:
        """Give a document, or None."""
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            row = await connection.fetchrow(f"{_PRESENT} and d.id = $2", tenant(), document_id)
        return None if row is None else document_of(row)

    async def page(self, *, before: str | None, size: int) -> list[Document]:
        """Give documents older than `before`, newest first."""
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            rows = await connection.fetch(
                f"{_PRESENT} and ($2::text is null or d.id < $2) order by d.id desc limit $3",
                *(tenant(), before, size),
            )
        return [document_of(row) for row in rows]

    async def delete(self, document_id: str, *, events: Sequence[Event]) -> tuple[Envelope, ...] | None:
        """Delete a document and note that its points are to go; None where there is none."""
        async with self._database.transaction(tenant=tenant()) as connection:
            if await connection.fetchval(_LOCK, tenant(), document_id) is None:
                return None
            versions = [row["id"] for row in await connection.fetch(_VERSIONS, tenant(), document_id)]
            await connection.execute(_REMOVALS, tenant(), versions, Space.PASSAGES.value)
            await connection.execute(_DELETE, tenant(), document_id)
            return tuple([await outbox.put(connection, event) for event in events])


async def _same(connection: Connection, document_id: str, document: Document) -> str | None:
    """Give the present version's id where it says the same."""
    row = await connection.fetchrow(
        f"select {_COLUMNS}, i.id as ingestion_id from documents d join ingestions i on i.id = d.ingestion_id"
        " where d.tenant = $1 and d.id = $2",
        *(tenant(), document_id),
    )
    if row is None:
        return None
    now = document_of(row)
    told = (now.digest, now.media_type, now.title, dict(now.labels))
    if told != (document.digest, document.media_type, document.title, dict(document.labels)):
        return None
    return str(row["ingestion_id"])


async def _write(connection: Connection, version: Version, *, document_id: str, request_id: str) -> None:
    document = version.document
    await connection.execute(
        _INSERT,
        *(version.id, tenant(), document_id, document.title, document.source, document.media_type),
        *(document.digest, json.dumps(dict(document.labels)), len(version.passages)),
        *(version.origin.actor, request_id, version.origin.decision_id, version.origin.policy_version),
        document.created_at,
    )
    await connection.executemany(
        _PASSAGES,
        [
            (
                *(one.id, tenant(), document_id, version.id, ordinal, list(one.headings)),
                *(one.text, one.start, one.end, one.page),
            )
            for ordinal, one in enumerate(version.passages)
        ],
    )


async def _is_present(connection: Connection, ingestion_id: str) -> bool:
    found = await connection.fetchval(
        "select true from documents where tenant = $1 and ingestion_id = $2", tenant(), ingestion_id
    )
    return bool(found)


async def _drop_versions(connection: Connection, ingestion_ids: Sequence[str]) -> None:
    await connection.execute(_REMOVALS, tenant(), list(ingestion_ids), Space.PASSAGES.value)
    await connection.execute(_DELETE_VERSIONS, tenant(), list(ingestion_ids))
