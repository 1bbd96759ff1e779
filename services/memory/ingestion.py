"""Documents: ingest, get, list, delete.

A version is staged (its rows are written, unseen), indexed batch by batch, and put in force. The
indexing is the process's, not the call's: a caller that goes away does not stop it, and after a
crash the sweeper goes on with it from the rows.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from mesh.events.publisher import Publisher
from mesh.runtime.clock import Clock
from mesh.runtime.context import acting_for, current
from mesh.runtime.ids import new_id
from mesh.runtime.logging import get_logger
from mesh.runtime.places import Places
from services.memory import events, indexing
from services.memory.domain import pages, texts
from services.memory.domain.resources import Document, Passage
from services.memory.errors import bad_page_token, document_not_found, too_many_documents
from services.memory.indexing import Indexer
from services.memory.messages import document_message
from services.memory.reading.document import Reading
from services.memory.reading.reader import Reader
from services.memory.store.documents import DocumentStore, Standing, Version
from services.memory.store.requests import Request
from services.memory.store.tenancy import tenant

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A document as it was given."""

    title: str
    source: str
    media_type: str
    content: bytes
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a list."""

    documents: list[Document]
    next_token: str


class Ingestion:
    """Documents of the tenant of the call in progress."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        indexer: Indexer,
        reader: Reader,
        publisher: Publisher,
        clock: Clock,
        most: int,
    ) -> None:
        """Take what it works with; `most` bounds the versions that are indexed, half of it a tenant's."""
        self._store = store
        self._indexer = indexer
        self._reader = reader
        self._publisher = publisher
        self._clock = clock
        self._most = most
        self._turns = Places(1)
        self._running: dict[str, asyncio.Task[Document]] = {}
        self._tenants: Counter[str] = Counter()

    async def ingest(self, given: Given, *, request: Request) -> Document:
        """Ingest a document; it can be retrieved when this returns.

        Raises:
            InvalidArgument: the document cannot be read.
            AlreadyExists: the request id stands for another request.
            ResourceExhausted: too many documents are being ingested.
            NotFound: what the request made was deleted or replaced since.
        """
        made = await self._store.made_by(request)
        if made is None:
            share = -(-self._most // 2)
            if len(self._running) >= self._most or self._tenants[tenant()] >= share:
                raise too_many_documents(self._tenants[tenant()])
            reading = await self._reader.read(given.content, given.media_type, tenant=tenant())
            version = self._version(given, reading)
            made = await self._store.stage(version, request=request)
        return await asyncio.shield(self._task(made))

    async def finish(self, ingestion_id: str) -> None:
        """Go on with a version that a crash left unfinished, unless this process is at it."""
        if ingestion_id not in self._running:
            await asyncio.shield(self._task(ingestion_id))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop indexing; the rows say where to go on."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def get(self, document_id: str) -> Document:
        """Give a document.

        Raises:
            NotFound: there is none.
        """
        document = await self._store.get(document_id)
        if document is None:
            raise document_not_found(document_id)
        return document

    async def page(self, *, size: int, token: str) -> Page:
        """Give a page of documents, newest first.

        Raises:
            InvalidArgument: the token is not one of ours.
        """
        try:
            before = pages.before(token, "doc")
        except ValueError as error:
            raise bad_page_token() from error
        size = size or pages.DEFAULT_SIZE
        found = await self._store.page(before=before, size=size + 1)
        more = pages.after(found[size - 1].id) if len(found) > size else ""
        return Page(documents=found[:size], next_token=more)

    async def delete(self, document_id: str) -> None:
        """Delete a document with its passages.

        Raises:
            NotFound: there is none.
        """
        now = self._clock.now()
        record = events.audit(
            tenant=tenant(),
            action="documents.delete",
            resource=document_id,
            origin=events.origin(),
            now=now,
            details={},
        )
        gone = events.deleted(tenant(), now, document_id)
        told = await self._store.delete(document_id, events=[gone, record])
        if told is None:
            raise document_not_found(document_id)
        for one in told:
            self._publisher.leave(one)

    def _version(self, given: Given, reading: Reading) -> Version:
        digest = hashlib.sha256(given.content).hexdigest()
        title = texts.title_of(given.title, reading.title, given.source)
        document_id = new_id("doc")
        return Version(
            id=new_id("ing"),
            document=Document(
                id=document_id,
                title=title,
                source=given.source,
                media_type=given.media_type,
                digest=digest,
                passage_count=len(reading.passages),
                labels=dict(given.labels),
                created_at=self._clock.now(),
            ),
            key=texts.document_key(given.source, digest),
            origin=events.origin(),
            passages=tuple(_passages(given, document_id, title, reading)),
        )

    def _task(self, ingestion_id: str) -> asyncio.Task[Document]:
        """Give the task that finishes a version: the one that runs, or a new one."""
        running = self._running.get(ingestion_id)
        if running is not None:
            return running
        call = current()
        with acting_for(tenant=call.tenant, request_id=call.request_id) as own:
            own.deadline = None  # the work outlives the call
            task = asyncio.get_running_loop().create_task(
                self._finish(ingestion_id), name=f"index {ingestion_id}"
            )
        self._running[ingestion_id] = task
        self._tenants[call.tenant] += 1
        task.add_done_callback(lambda done: self._ended(ingestion_id, call.tenant, done))
        return task

    def _ended(self, ingestion_id: str, owner: str, task: asyncio.Task[Document]) -> None:
        """Forget a task; its callers may be gone, so this is where its failure is told."""
        self._running.pop(ingestion_id, None)
        self._tenants -= Counter((owner,))
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("indexing ended early", ingestion=ingestion_id, cause=str(error))

    async def _finish(self, ingestion_id: str) -> Document:
        standing = await self._store.standing(ingestion_id)
        if standing is None:
            raise document_not_found("of this request")
        if standing.present:
            return standing.document
        while left := await self._store.unindexed(ingestion_id, limit=indexing.BATCH):
            some = indexing.batch(left)
            # One batch at a time, by turns of the tenants: queries come between them, and a long
            # document holds up another tenant's by one batch.
            async with self._turns.held(tenant()):
                await self._indexer.put_passages(some)
            await self._store.mark_indexed([one.passage.id for one in some])
        told = await self._store.present(standing, events=lambda: self._told(standing))
        for one in told:
            self._publisher.leave(one)
        return standing.document

    def _told(self, standing: Standing) -> Sequence[events.Event]:
        document, now = standing.document, self._clock.now()
        return [
            events.ingested(tenant(), now, document_message(document)),
            events.audit(
                tenant=tenant(),
                action="documents.ingest",
                resource=document.id,
                origin=standing.origin,
                now=now,
                details={
                    "digest": document.digest,
                    "media_type": document.media_type,
                    "passages": str(document.passage_count),
                },
            ),
        ]


def _passages(given: Given, document_id: str, title: str, reading: Reading) -> list[Passage]:
    return [
        Passage(
            id=new_id("psg"),
            document_id=document_id,
            title=title,
            source=given.source,
            headings=one.headings,
            text=one.text,
            start=one.start,
            end=one.end,
            page=one.page,
        )
        for one in reading.passages
    ]
