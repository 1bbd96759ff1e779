"""Sees to what a crash or an absent server left behind, and removes points whose rows are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mesh.runtime.context import acting_for
from mesh.runtime.errors import NotFound, SomaError
from mesh.runtime.logging import get_logger
from services.memory.ingestion import Ingestion
from services.memory.remembering import Remembering
from services.memory.store.backlog import Backlog, Left
from services.memory.store.vectors import Space, VectorStore

_log = get_logger(__name__)
EVERY_SECONDS: Final = 5.0
# What is younger is probably being worked on by the call that made it.
AGE_SECONDS: Final = 10.0
LIMIT: Final = 500
CLEAN_EVERY: Final = 720  # rounds: once an hour
REQUEST_AGE_SECONDS: Final = 14 * 24 * 3600.0


class Sweeper:
    """Works through the backlog, round by round."""

    def __init__(
        self, *, backlog: Backlog, remembering: Remembering, ingestion: Ingestion, vectors: VectorStore
    ) -> None:
        self._backlog = backlog
        self._remembering = remembering
        self._ingestion = ingestion
        self._vectors = vectors

    async def run(self) -> None:
        """Sweep for ever; what fails is tried again in the next round."""
        rounds = 0
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.sweep(older_than=AGE_SECONDS)
                rounds += 1
                if rounds % CLEAN_EVERY == 0:
                    await self.clean()
            except Exception as error:  # noqa: BLE001 - a server may be away; the next round will tell
                _log.warning("sweep failed", cause=f"{type(error).__name__}: {error}")

    async def sweep(self, *, older_than: float) -> None:
        """Index what is not indexed, remove what is to go."""
        await self._each(
            await self._backlog.memories(older_than=older_than, limit=LIMIT), self._remembering.reindex
        )
        await self._each(
            await self._backlog.ingestions(older_than=older_than, limit=LIMIT), self._ingestion.finish
        )
        removals = await self._backlog.removals(older_than=0.0, limit=LIMIT)
        for (owner, space), ids in removals.items():
            with acting_for(tenant=owner):
                await self._vectors.remove(space, ids)
                await self._backlog.removed(ids)

    async def clean(self) -> None:
        """Remove points without rows, and request ids that nobody repeats any more."""
        for owner in await self._backlog.tenants():
            with acting_for(tenant=owner):
                await self._backlog.forget_requests(older_than=REQUEST_AGE_SECONDS)
        for space in Space:
            for owner in await self._vectors.tenants(space):
                with acting_for(tenant=owner):
                    await self._remove_stale(space)

    async def _remove_stale(self, space: Space) -> None:
        async for ids in self._vectors.ids(space):
            stale = await self._backlog.stale(space, ids)
            if stale:
                _log.info("points without rows removed", collection=space.value, points=len(stale))
                await self._vectors.remove(space, stale)

    async def _each(self, found: Sequence[Left], see_to: Callable[[str], Awaitable[None]]) -> None:
        for one in found:
            with acting_for(tenant=one.tenant):
                try:
                    await see_to(one.id)
                except NotFound:
                    continue  # it went in the meantime
                except SomaError as error:
                    _log.warning("left for the next round", id=one.id, cause=error.message)
