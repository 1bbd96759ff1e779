"""Resources as protobuf."""

from __future__ import annotations

from soma.memory.v1 import resources_pb2

from services.memory.domain.resources import Document, Memory, Passage, Scored
from services.memory.events import timestamp


def memory_message(memory: Memory) -> resources_pb2.Memory:
    """Write a memory."""
    return resources_pb2.Memory(
        id=memory.id,
        text=memory.text,
        session_id=memory.session_id,
        labels=memory.labels,
        create_time=timestamp(memory.created_at),
    )


def recalled_message(scored: Scored[Memory]) -> resources_pb2.RecalledMemory:
    """Write a memory that was found."""
    return resources_pb2.RecalledMemory(memory=memory_message(scored.found), score=scored.score)


def document_message(document: Document) -> resources_pb2.Document:
    """Write a document."""
    return resources_pb2.Document(
        id=document.id,
        title=document.title,
        source=document.source,
        media_type=document.media_type,
        digest=document.digest,
        passage_count=document.passage_count,
        create_time=timestamp(document.created_at),
        labels=document.labels,
    )


def passage_message(scored: Scored[Passage]) -> resources_pb2.Passage:
    """Write a passage that was found, with its citation."""
    passage = scored.found
    return resources_pb2.Passage(
        id=passage.id,
        document_id=passage.document_id,
        title=passage.title,
        source=passage.source,
        headings=passage.headings,
        text=passage.text,
        start=passage.start,
        end=passage.end,
        page=passage.page,
        score=scored.score,
    )
