"""Committed records on their way to the broker, beside the calls that committed them.

A record that somebody waits for leaves at once. The others (audit, what memory reads, what an
administrator follows) are gathered for a moment: one request to the broker, one answer to each
consumer and one mark then serve many records, and what somebody waits for finds the wire free.
Nothing is risked by it: the rows are committed, and what does not leave here is the outbox worker's.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

from mesh.events.records import Envelope
from mesh.events.topics import BY_NAME
from mesh.runtime.logging import get_logger

_log = get_logger(__name__)
GATHER_SECONDS: Final = 0.2
MOST_UNDER_WAY: Final = 4096
Publish = Callable[[Envelope], Awaitable[bool]]


class Departures:
    """Owns the tasks that publish; `close` sees them off."""

    def __init__(self, publish: Publish) -> None:
        """Take what publishes and marks one record, and tells failure by False."""
        self._publish = publish
        self._gathered: list[Envelope] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._gathering = False
        self._closing = asyncio.Event()

    def leave(self, envelopes: Iterable[Envelope]) -> None:
        """Take records whose rows are committed; past the bound they are the outbox worker's."""
        for envelope in envelopes:
            if self._under_way >= MOST_UNDER_WAY:
                _log.warning("record left to the outbox worker", record=envelope.id, cause="too many")
                continue
            self._under_way += 1
            if BY_NAME[envelope.topic].gathered:
                self._gathered.append(envelope)
            else:
                self._start(self._depart(envelope))
        if self._gathered and not self._gathering:
            self._gathering = True
            self._start(self._gather())

    async def close(self, *, seconds: float) -> None:
        """Publish what was gathered, and wait for all that is under way, for a bounded time."""
        self._closing.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _gather(self) -> None:
        """Publish round by round while records come."""
        while self._gathered:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._closing.wait()
            together, self._gathered = self._gathered, []
            # Begun in the order in which they came, so that records of one key keep theirs.
            await asyncio.gather(*map(self._depart, together))
        self._gathering = False

    async def _depart(self, envelope: Envelope) -> None:
        try:
            await self._publish(envelope)
        except Exception as error:  # noqa: BLE001 - the row is the outbox worker's
            cause = f"{type(error).__name__}: {error}"
            _log.warning("record left to the outbox worker", record=envelope.id, cause=cause)
        finally:
            self._under_way -= 1

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
