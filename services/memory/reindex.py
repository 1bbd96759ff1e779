"""`python -m services.memory.reindex`: make the vectors again from the rows.

For a vector store that was lost, or an embedding model that was changed. The service may run
meanwhile: points are replaced one by one, and points without rows are removed at the end. With
`--drop` the collections are emptied first, and what is not indexed yet is not found until it is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence

from mesh.inference.triton import Triton
from mesh.runtime.context import acting_for
from mesh.runtime.errors import ConfigurationError, DependencyDown, SomaError
from mesh.storage.database import Database
from services.memory import indexing
from services.memory.config import Settings
from services.memory.domain.words import WordEncoder
from services.memory.indexing import Indexer
from services.memory.store.backlog import Backlog
from services.memory.store.vectors import Space, VectorStore

A_PAGE = 256


class Rebuild:
    """Makes the points of tenants again."""

    def __init__(self, *, backlog: Backlog, indexer: Indexer, vectors: VectorStore) -> None:
        self._backlog = backlog
        self._indexer = indexer
        self._vectors = vectors

    async def run(self, tenants: Sequence[str], *, drop: bool) -> int:
        """Index everything of these tenants; give how many points were made."""
        if drop:
            for space in Space:
                await self._vectors.drop(space)
        made = 0
        for owner in tenants:
            with acting_for(tenant=owner):
                made += await self._memories() + await self._passages()
                for space in Space:
                    await self._remove_stale(space)
        return made

    async def _memories(self) -> int:
        made, last = 0, ""
        while page := await self._backlog.every_memory(after=last, limit=indexing.BATCH):
            await self._indexer.put_memories(page)
            made, last = made + len(page), page[-1].id
        return made

    async def _passages(self) -> int:
        made, last = 0, ""
        while page := await self._backlog.every_passage(after=last, limit=A_PAGE):
            made, last = made + len(page), page[-1].passage.id
            left = sorted(page, key=lambda one: len(one.passage.text))
            while left:
                some = indexing.batch(left)
                await self._indexer.put_passages(some)
                left = left[len(some) :]
        return made

    async def _remove_stale(self, space: Space) -> None:
        async for ids in self._vectors.ids(space):
            if stale := await self._backlog.stale(space, ids):
                await self._vectors.remove(space, stale)


async def reindex(settings: Settings, *, tenants: Sequence[str], drop: bool) -> int:
    """Connect and rebuild; all tenants where none is named."""
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.postgres_url, largest=2))
        triton = await stack.enter_async_context(Triton.open(settings.triton_url))
        vectors = await stack.enter_async_context(
            VectorStore.open(
                settings.qdrant_url, api_key=settings.qdrant_api_key, prefix=settings.qdrant_prefix
            )
        )
        backlog = Backlog(database)
        indexer = Indexer(embedder=triton, words=WordEncoder(), vectors=vectors)
        rebuild = Rebuild(backlog=backlog, indexer=indexer, vectors=vectors)
        return await rebuild.run(tenants or await backlog.tenants(), drop=drop)


def main() -> int:
    """Run; a failure is one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m services.memory.reindex", description=__doc__)
    parser.add_argument("--tenant", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--drop", action="store_true", help="empty the collections first")
    given = parser.parse_args()
    if given.drop and given.tenant:
        parser.error("--drop empties the collections of all tenants: leave --tenant out")
    try:
        made = asyncio.run(reindex(Settings.from_environment(), tenants=given.tenant, drop=given.drop))
    except SomaError as error:
        sys.stderr.write(f"reindex: {error.message}\n")
        return 1
    except (ConfigurationError, DependencyDown, ValueError) as error:
        sys.stderr.write(f"reindex: {error}\n")
        return 1
    sys.stdout.write(f"{made} points made\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
