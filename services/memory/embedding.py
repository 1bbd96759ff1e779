"""Embeddings of queries, kept for a while; each tenant's apart, so that none learns another's by time."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter

from services.memory.domain import texts
from services.memory.ports import Embedder
from services.memory.store.tenancy import tenant

QUERY_SECONDS: Final = 5.0
Key = tuple[str, bytes]


class QueryEmbedder:
    """Embeds queries; a text that was asked for lately is not embedded again."""

    def __init__(self, embedder: Embedder, *, size: int, uses: Counter) -> None:
        """Take what embeds, how many vectors to keep, and a counter with the label `result`."""
        self._embedder = embedder
        self._size = size
        self._kept: OrderedDict[Key, array[float]] = OrderedDict()
        self._hits, self._misses = uses.labels("hit"), uses.labels("miss")

    async def embed(self, query: str) -> Sequence[float]:
        """Give the vector of a query of the tenant of the call in progress."""
        key = (tenant(), texts.digest(query))
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            self._hits.inc()
            return found
        self._misses.inc()
        [vector] = await self._embedder.embed([query], timeout_seconds=QUERY_SECONDS)
        self._kept[key] = made = array("f", vector)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return made
