"""Tells of committed changes beside the calls that made them.

A caller does not wait for Kafka: the change and its records are committed together, and what this
process does not publish, the outbox worker does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from mesh.events.bus import Bus
from mesh.events.records import Envelope

WAITING: Final = 10_000


class Publisher:
    """Publishes in the order of the offers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue: asyncio.Queue[Envelope] = asyncio.Queue(WAITING)

    def offer(self, envelopes: Iterable[Envelope]) -> None:
        """Take what was committed; past the bound it is the outbox worker's."""
        for envelope in envelopes:
            if not self._queue.full():
                self._queue.put_nowait(envelope)

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._bus.publish_committed(await self._queue.get())
