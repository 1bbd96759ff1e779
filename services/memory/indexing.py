"""From texts to points: embeds and encodes what is to be found, and puts it into the vector store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.memory.domain import texts
from services.memory.domain.resources import Memory
from services.memory.domain.words import WordEncoder
from services.memory.ports import Embedder
from services.memory.reading.passages import tokens
from services.memory.store.documents import Indexable
from services.memory.store.vectors import Point, Space, VectorStore

BATCH: Final = 32  # texts in one request to the model, at most
# A query waits for the request in progress: about 1,500 tokens keep that near 0.2 s on two cores.
BATCH_TOKENS: Final = 1_500
ONE_SECONDS: Final = 10.0
BATCH_SECONDS: Final = 60.0


class Indexer:
    """Makes points for the tenant of the call in progress; what it puts is found when it returns."""

    def __init__(self, *, embedder: Embedder, words: WordEncoder, vectors: VectorStore) -> None:
        self._embedder = embedder
        self._words = words
        self._vectors = vectors

    async def meaning(self, text: str) -> list[float]:
        """Give the embedding of one text."""
        [vector] = await self._embedder.embed([text], timeout_seconds=ONE_SECONDS)
        return vector

    async def put_memory(self, memory: Memory, meaning: Sequence[float]) -> None:
        """Index a memory whose embedding is known."""
        await self._vectors.put(Space.MEMORIES, [self._memory_point(memory, meaning)])

    async def put_memories(self, memories: Sequence[Memory]) -> None:
        """Index memories."""
        meanings = await self._embedder.embed([one.text for one in memories], timeout_seconds=BATCH_SECONDS)
        points = map(self._memory_point, memories, meanings)
        await self._vectors.put(Space.MEMORIES, list(points))

    async def put_passages(self, passages: Sequence[Indexable]) -> None:
        """Index passages: what stands above each is a part of what it says."""
        written = [
            texts.of_passage(one.passage.title, one.passage.headings, one.passage.text) for one in passages
        ]
        meanings = await self._embedder.embed(written, timeout_seconds=BATCH_SECONDS)
        points = [
            Point(
                id=one.passage.id,
                meaning=meaning,
                words=self._words.text(text),
                labels=texts.label_terms(one.labels),
                document=one.passage.document_id,
            )
            for one, text, meaning in zip(passages, written, meanings, strict=True)
        ]
        await self._vectors.put(Space.PASSAGES, points)

    def _memory_point(self, memory: Memory, meaning: Sequence[float]) -> Point:
        return Point(
            id=memory.id,
            meaning=meaning,
            words=self._words.text(memory.text),
            labels=texts.label_terms(memory.labels),
            session=memory.session_id,
        )


def batch(left: Sequence[Indexable]) -> Sequence[Indexable]:
    """Take passages from the front, at least one, up to the bounds of a batch."""
    size = 0
    for number, one in enumerate(left[:BATCH]):
        size += tokens(one.passage.text)
        if number and size > BATCH_TOKENS:
            return left[:number]
    return left[:BATCH]
