"""The parts of memory in the test's own process, on the real servers of a running stack."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter

from mesh.events.publisher import Publisher
from mesh.inference.triton import Triton
from mesh.runtime.clock import SystemClock
from mesh.runtime.context import acting_for
from mesh.runtime.ids import new_id
from mesh.stack.catalogue import BY_NAME
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from mesh.storage.database import Database
from services.memory.config import Settings
from services.memory.domain.words import WordEncoder
from services.memory.embedding import QueryEmbedder
from services.memory.indexing import Indexer
from services.memory.ingestion import Ingestion
from services.memory.reading.blocks import Bounds
from services.memory.reading.reader import Reader
from services.memory.remembering import Remembering
from services.memory.retrieval import Retrieval
from services.memory.store.backlog import Backlog
from services.memory.store.documents import DocumentStore
from services.memory.store.knowledge import KnowledgeStore
from services.memory.store.memories import MemoryStore
from services.memory.store.requests import Request
from services.memory.store.vectors import VectorStore
from services.memory.sweeper import Sweeper


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What `services.memory.wiring` puts together, open to a test."""

    database: Database
    vectors: VectorStore
    embedder: Triton
    documents: DocumentStore
    memories: MemoryStore
    knowledge: KnowledgeStore
    indexer: Indexer
    remembering: Remembering
    ingestion: Ingestion
    retrieval: Retrieval
    backlog: Backlog
    sweeper: Sweeper
    publisher: Publisher
    clock: SystemClock = field(default_factory=SystemClock)
    words: WordEncoder = field(default_factory=WordEncoder)


def memory_environment(home: str | None = None) -> dict[str, str]:
    """The environment that the launcher of the stack gives to memory."""
    surroundings = dict(os.environ)
    if home or "SOMA_TEST_HOME" in surroundings:
        surroundings["SOMA_HOME"] = home or surroundings["SOMA_TEST_HOME"]
        surroundings.pop("SOMA_PORT_BASE", None)
    stack = StackSettings.from_environment(surroundings)
    return Environment(stack).of_workload(
        BY_NAME["memory"], process="memory-test", listen=1, metrics=1, version="stable"
    )


def memory_settings(home: str | None = None) -> Settings:
    """Memory's own settings and credentials in the stack that the environment names."""
    given = memory_environment(home)
    names = {name.removeprefix("SOMA_").lower(): text for name, text in given.items()}
    wanted = {name: names[name] for name in names if name in Settings.model_fields}
    wanted.pop("peers")
    return Settings.model_validate(wanted)


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Parts]:
    """Open the parts; closed with the block."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database.open(settings.postgres_url))
        vectors = await enter(VectorStore.open(settings.qdrant_url, api_key=settings.qdrant_api_key))
        embedder = await enter(Triton.open(settings.triton_url))
        publisher = Publisher(settings, database)
        words, clock = WordEncoder(), SystemClock()
        reader = await enter(Reader.open(bounds=Bounds(), seconds=10.0, lanes=2, waiting=8))
        indexer = Indexer(embedder=embedder, words=words, vectors=vectors)
        remembering = Remembering(
            store=MemoryStore(database),
            indexer=indexer,
            publisher=publisher,
            clock=clock,
        )
        ingestion = await enter(
            Ingestion(
                store=DocumentStore(database),
                indexer=indexer,
                reader=reader,
                publisher=publisher,
                clock=clock,
                most=8,
            )
        )
        uses = Counter("soma_query_embeddings", "", ["result"], registry=CollectorRegistry())
        backlog = Backlog(database)
        yield Parts(
            database=database,
            vectors=vectors,
            embedder=embedder,
            documents=DocumentStore(database),
            memories=MemoryStore(database),
            knowledge=KnowledgeStore(database),
            indexer=indexer,
            publisher=publisher,
            remembering=remembering,
            ingestion=ingestion,
            retrieval=Retrieval(
                embedder=QueryEmbedder(embedder, size=256, uses=uses),
                words=words,
                vectors=vectors,
                store=KnowledgeStore(database),
            ),
            backlog=backlog,
            sweeper=Sweeper(backlog=backlog, remembering=remembering, ingestion=ingestion, vectors=vectors),
        )


def request(name: str = "", content: bytes = b"") -> Request:
    """A request with an id of its own, or a given one."""
    return Request(id=name or new_id("req"), digest=content or b"digest")


def new_tenant() -> str:
    """A tenant that no other test has."""
    return f"test-{uuid.uuid4().hex[:16]}"


@contextlib.contextmanager
def tenant(name: str = "") -> Iterator[str]:
    """Act for a tenant."""
    name = name or new_tenant()
    with acting_for(tenant=name):
        yield name
