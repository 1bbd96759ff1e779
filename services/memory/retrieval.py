"""Finding memories and passages for a query. On the road of a turn: every step here counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from services.memory.domain import ranking, texts
from services.memory.domain.ranking import Ranked
from services.memory.domain.resources import Memory, Passage, Scored
from services.memory.domain.words import WordEncoder, Words
from services.memory.embedding import QueryEmbedder
from services.memory.errors import nothing_to_look_for
from services.memory.store.knowledge import KnowledgeStore
from services.memory.store.vectors import EVERYTHING, Narrowing, Space, VectorStore

DEFAULT_LIMIT: Final = 5
# How deep each ranking is read: a text that is far down in both is not among the first few fused.
DEPTH: Final = 40
# Candidates beyond the limit, for those whose rows are gone.
SPARE: Final = 8
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What was found for a turn."""

    memories: list[Scored[Memory]]
    passages: list[Scored[Passage]]


@dataclass(frozen=True, slots=True)
class _Query:
    meaning: Sequence[float]
    words: Words


class Retrieval:
    """Searches of the tenant of the call in progress."""

    def __init__(
        self,
        *,
        embedder: QueryEmbedder,
        words: WordEncoder,
        vectors: VectorStore,
        store: KnowledgeStore,
    ) -> None:
        self._embedder = embedder
        self._words = words
        self._vectors = vectors
        self._store = store

    async def recall(
        self, query: str, *, limit: int, labels: Mapping[str, str], session_id: str
    ) -> list[Scored[Memory]]:
        """Find memories, nearest first."""
        narrowing = Narrowing(labels=texts.label_terms(labels), session=session_id)
        asked, limit = await self._read(query), limit or DEFAULT_LIMIT
        ranked = await self._search(Space.MEMORIES, asked, limit=limit, narrowing=narrowing)
        found, _ = await self._store.read(memories=[one.id for one in ranked])
        return _first(ranked, found, limit)

    async def retrieve(
        self, query: str, *, limit: int, labels: Mapping[str, str], document_ids: Sequence[str]
    ) -> list[Scored[Passage]]:
        """Find passages, nearest first."""
        narrowing = Narrowing(labels=texts.label_terms(labels), documents=document_ids)
        asked, limit = await self._read(query), limit or DEFAULT_LIMIT
        ranked = await self._search(Space.PASSAGES, asked, limit=limit, narrowing=narrowing)
        _, found = await self._store.read(passages=[one.id for one in ranked])
        return _first(ranked, found, limit)

    async def consult(self, query: str, *, memories: int, passages: int) -> Knowledge:
        """Find memories and passages with one embedding and one reading.

        A limit of 0 leaves one of them out. A turn may say nothing: nothing is near to that.
        """
        if not texts.query(query) or not (memories or passages):
            return Knowledge(memories=[], passages=[])
        asked = await self._read(query)
        near, told = await asyncio.gather(
            self._search(Space.MEMORIES, asked, limit=memories, narrowing=EVERYTHING),
            self._search(Space.PASSAGES, asked, limit=passages, narrowing=EVERYTHING),
        )
        remembered, present = await self._store.read(
            memories=[one.id for one in near], passages=[one.id for one in told]
        )
        return Knowledge(
            memories=_first(near, remembered, memories), passages=_first(told, present, passages)
        )

    async def _read(self, query: str) -> _Query:
        text = texts.query(query)
        if not text:
            raise nothing_to_look_for()
        return _Query(await self._embedder.embed(text), self._words.query(text))

    async def _search(self, space: Space, query: _Query, *, limit: int, narrowing: Narrowing) -> list[Ranked]:
        if not limit:
            return []
        rankings = await self._vectors.search(
            space,
            meaning=query.meaning,
            words=query.words,
            limit=max(DEPTH, 2 * limit),
            narrowing=narrowing,
        )
        return ranking.fuse(rankings.meaning, rankings.words)[: limit + SPARE]


def _first(ranked: Sequence[Ranked], found: Mapping[str, Thing], limit: int) -> list[Scored[Thing]]:
    return [Scored(found=found[one.id], score=one.score) for one in ranked if one.id in found][:limit]
