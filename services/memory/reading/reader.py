"""Reads documents: several at once, each in a child process, served by turns of their tenants.

A tenant holds all lanes but one at most, so that its long documents hold up nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from mesh.runtime.places import NoPlace, Places
from services.memory.errors import too_many_documents
from services.memory.reading.blocks import Bounds
from services.memory.reading.document import Reading
from services.memory.reading.lane import Lane


class Reader:
    """Reads documents, each in one of some lanes."""

    def __init__(self, *, bounds: Bounds, seconds: float, lanes: int, waiting: int) -> None:
        """Take bounds of a document, of the time for one, of how many are read at once and may wait."""
        self._places = Places(lanes, each=max(1, lanes - 1), waiting=waiting)
        self._idle = [Lane(bounds=bounds, seconds=seconds) for _ in range(lanes)]
        self._lanes = tuple(self._idle)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, *, bounds: Bounds, seconds: float, lanes: int, waiting: int) -> AsyncIterator[Reader]:
        """Give a reader; its children end with the block."""
        reader = cls(bounds=bounds, seconds=seconds, lanes=lanes, waiting=waiting)
        try:
            yield reader
        finally:
            await asyncio.gather(*(lane.end() for lane in reader._lanes))

    async def read(self, content: bytes, media_type: str, *, tenant: str) -> Reading:
        """Read a tenant's document.

        Raises:
            ResourceExhausted: too many documents wait already, and none of another tenant gives way.
            InvalidArgument: the document cannot be read within its bounds.
        """
        try:
            async with self._places.held(tenant):
                lane = self._idle.pop()  # the last one used is the one that is warm
                try:
                    return await lane.read(content, media_type)
                finally:
                    self._idle.append(lane)
        except NoPlace as full:
            raise too_many_documents(full.waiting) from full
