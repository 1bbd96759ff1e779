"""The fast road from the outbox to Kafka, beside the calls: no call waits for the broker.

What does not fit the queue, or finds no broker, is left to the outbox worker, whose
rows they are anyway.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mesh.events.bus import Bus
from mesh.events.records import Envelope
from mesh.runtime.logging import get_logger
from mesh.runtime.settings import ProcessSettings
from mesh.storage import Database

_QUEUE: Final = 1024
_PAUSE_SECONDS: Final = 2.0
_log = get_logger(__name__)


class Publisher:
    """Hands committed records to the bus, in their order, once there is one."""

    def __init__(self, settings: ProcessSettings, database: Database) -> None:
        """Publish to the broker of `settings`; rows are marked in `database`."""
        self._settings = settings
        self._database = database
        self._queue: asyncio.Queue[Envelope] = asyncio.Queue(_QUEUE)

    def leave(self, envelope: Envelope) -> None:
        """Take a record whose row is committed."""
        try:
            self._queue.put_nowait(envelope)
        except asyncio.QueueFull:
            _log.warning("record left to the outbox worker", record=envelope.id, cause="queue full")

    async def run(self) -> None:
        """Publish until the task is cancelled; a broker that is not there yet is waited for."""
        while True:
            try:
                async with Bus.open(self._settings, self._database) as bus:
                    while True:
                        bus.leave((await self._queue.get(),))
            except Exception as error:  # noqa: BLE001  a broker in whatever trouble ends no sign-in
                _log.warning("events wait for the broker", cause=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_PAUSE_SECONDS)
