"""Memories: remember, get, list, forget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.events.publisher import Publisher
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.memory import events
from services.memory.domain import pages, texts
from services.memory.domain.resources import Memory
from services.memory.errors import bad_page_token, memory_not_found, nothing_to_remember
from services.memory.indexing import Indexer
from services.memory.messages import memory_message
from services.memory.store.memories import Kept, MemoryStore
from services.memory.store.requests import Request
from services.memory.store.tenancy import tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a list."""

    memories: list[Memory]
    next_token: str


class Remembering:
    """Memories of the tenant of the call in progress."""

    def __init__(
        self,
        *,
        store: MemoryStore,
        indexer: Indexer,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._store = store
        self._indexer = indexer
        self._publisher = publisher
        self._clock = clock

    async def remember(
        self, text: str, *, session_id: str, labels: Mapping[str, str], request: Request
    ) -> Memory:
        """Remember a text; it can be recalled when this returns.

        Raises:
            InvalidArgument: the text holds nothing.
            AlreadyExists: the request id stands for another request.
            NotFound: what the request made was forgotten since.
        """
        if not text.strip():
            raise nothing_to_remember()
        kept = await self._store.made_by(request)
        if kept is None:
            # First, so that nothing is written where the model does not answer.
            meaning = await self._indexer.meaning(text)
            memory = self._new(text, session_id=session_id, labels=labels)
            told = self._told(memory, action="memories.remember")
            kept = await self._store.add(memory, request=request, events=told)
            if kept is None:
                raise memory_not_found(memory.id)
            await self._index(kept, meaning if kept.memory.text == text else None)
        else:
            await self._index(kept, None)
        for one in kept.published:
            self._publisher.leave(one)
        return kept.memory

    async def remember_turn(self, *, session_id: str, turn_id: str, said: str, answered: str) -> None:
        """Remember a finished turn: one memory at most, none where its session has the same already."""
        text = texts.of_turn(said, answered)
        if not text:
            return
        memory = self._new(text, session_id=session_id, labels={})
        told = self._told(memory, action="memories.remember_turn")
        kept = await self._store.add_of_turn(memory, turn_id=turn_id, events=told)
        if kept is not None:
            for one in kept.published:
                self._publisher.leave(one)
            await self._index(kept, None)

    async def reindex(self, memory_id: str) -> None:
        """Index a memory that a crash left without its point."""
        memory = await self._store.get(memory_id)
        if memory is not None:
            await self._index(Kept(memory=memory, indexed=False), None)

    async def get(self, memory_id: str) -> Memory:
        """Give a memory.

        Raises:
            NotFound: there is none.
        """
        memory = await self._store.get(memory_id)
        if memory is None:
            raise memory_not_found(memory_id)
        return memory

    async def page(self, *, size: int, token: str) -> Page:
        """Give a page of memories, newest first.

        Raises:
            InvalidArgument: the token is not one of ours.
        """
        try:
            before = pages.before(token, "mem")
        except ValueError as error:
            raise bad_page_token() from error
        size = size or pages.DEFAULT_SIZE
        found = await self._store.page(before=before, size=size + 1)
        more = pages.after(found[size - 1].id) if len(found) > size else ""
        return Page(memories=found[:size], next_token=more)

    async def forget(self, memory_id: str) -> None:
        """Forget a memory; a repeat does nothing more.

        Raises:
            NotFound: there is none.
        """
        now = self._clock.now()
        gone = events.forgotten(tenant(), now, memory_id)
        told = await self._store.forget(
            memory_id, events=[gone, self._audit(memory_id, action="memories.forget", details={})]
        )
        if told is None:
            raise memory_not_found(memory_id)
        for one in told:
            self._publisher.leave(one)

    def _new(self, text: str, *, session_id: str, labels: Mapping[str, str]) -> Memory:
        return Memory(
            id=new_id("mem"),
            text=text,
            session_id=session_id,
            labels=dict(labels),
            created_at=self._clock.now(),
        )

    def _told(self, memory: Memory, *, action: str) -> Sequence[events.Event]:
        details = {"characters": str(len(memory.text)), "digest": texts.digest(memory.text).hex()}
        if memory.session_id:
            details["session_id"] = memory.session_id
        return [
            events.remembered(tenant(), memory.created_at, memory_message(memory)),
            self._audit(memory.id, action=action, details=details),
        ]

    def _audit(self, memory_id: str, *, action: str, details: Mapping[str, str]) -> events.Event:
        return events.audit(
            tenant=tenant(),
            action=action,
            resource=memory_id,
            origin=events.origin(),
            now=self._clock.now(),
            details=details,
        )

    async def _index(self, kept: Kept, meaning: list[float] | None) -> None:
        if kept.indexed:
            return
        memory = kept.memory
        await self._indexer.put_memory(memory, meaning or await self._indexer.meaning(memory.text))
        await self._store.mark_indexed([memory.id])
