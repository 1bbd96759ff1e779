"""Builds memory from its settings."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from soma.memory.v1 import service_pb2_grpc

from mesh.events.publisher import Publisher
from mesh.inference.triton import Triton
from mesh.policy.wiring import join_policy
from mesh.runtime.clock import SystemClock
from mesh.runtime.process import Process
from mesh.storage.database import Database
from mesh.trust.wiring import join_trust
from services.memory.config import Settings
from services.memory.domain.words import WordEncoder
from services.memory.embedding import QueryEmbedder
from services.memory.handlers.documents import Documents
from services.memory.handlers.knowledge import Knowledge
from services.memory.handlers.memories import Memories
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
from services.memory.store.vectors import VectorStore
from services.memory.sweeper import Sweeper

EMBED = "embed"
CHECK_SECONDS = 2.0


async def build(process: Process, settings: Settings) -> None:
    """Wire the process."""
    join_trust(process)
    join_policy(process)
    clock, words = SystemClock(), WordEncoder()
    database = await process.enter(
        Database.open(settings.postgres_url, name=settings.name, start_seconds=settings.start_seconds)
    )
    vectors = await process.enter(
        VectorStore.open(
            settings.qdrant_url,
            api_key=settings.qdrant_api_key,
            prefix=settings.qdrant_prefix,
            start_seconds=settings.start_seconds,
        )
    )
    # Apart, so that a query never waits for a place behind the batches of a document.
    queries = await process.enter(Triton.open(settings.triton_url))
    batches = await process.enter(Triton.open(settings.triton_url))
    publisher = Publisher(settings, database)
    remembering = Remembering(
        store=MemoryStore(database),
        indexer=Indexer(embedder=queries, words=words, vectors=vectors),
        publisher=publisher,
        clock=clock,
    )
    reader = await process.enter(_reader(settings))
    ingestion = await process.enter(
        Ingestion(
            store=DocumentStore(database),
            indexer=Indexer(embedder=batches, words=words, vectors=vectors),
            reader=reader,
            publisher=publisher,
            clock=clock,
            most=settings.documents_waiting,
        )
    )
    uses = process.meter.counter("soma_query_embeddings", "Embeddings of queries.", ["result"])
    retrieval = Retrieval(
        embedder=QueryEmbedder(queries, size=settings.query_cache, uses=uses),
        words=words,
        vectors=vectors,
        store=KnowledgeStore(database),
    )
    sweeper = Sweeper(
        backlog=Backlog(database), remembering=remembering, ingestion=ingestion, vectors=vectors
    )
    process.own(publisher.run(), name="publisher")
    process.own(sweeper.run(), name="sweeper")
    _serve(process, remembering, ingestion, retrieval)
    process.ready_when("postgres", database.ping)
    process.ready_when("qdrant", vectors.ping)
    process.ready_when("triton", lambda: queries.check(EMBED, timeout_seconds=CHECK_SECONDS))


def _serve(process: Process, remembering: Remembering, ingestion: Ingestion, retrieval: Retrieval) -> None:
    process.serve(
        service_pb2_grpc.add_MemoriesServicer_to_server,
        Memories(remembering, retrieval),
        service="soma.memory.v1.Memories",
    )
    process.serve(
        service_pb2_grpc.add_DocumentsServicer_to_server,
        Documents(ingestion, retrieval),
        service="soma.memory.v1.Documents",
    )
    process.serve(
        service_pb2_grpc.add_KnowledgeServicer_to_server,
        Knowledge(retrieval),
        service="soma.memory.v1.Knowledge",
    )


def _reader(settings: Settings) -> AbstractAsyncContextManager[Reader]:
    bounds = Bounds(
        characters=settings.document_characters,
        pages=settings.document_pages,
        passages=settings.document_passages,
    )
    return Reader.open(
        bounds=bounds,
        seconds=settings.document_seconds,
        lanes=settings.document_lanes,
        waiting=settings.documents_waiting,
    )
