"""Draining a process: first no new calls, then the end of the running ones, then back into traffic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mesh.runtime.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf import duration_pb2

    from mesh.xds.fleet import Fleet
    from mesh.xds.members import Member
    from mesh.xds.sources import Sources

_log = get_logger(__name__)
# Long enough for the edge to take the endpoint out (measured: below 0.4 s).
_BEFORE_SECONDS = 0.5
_LOOK_SECONDS = 0.5
_BACK_SECONDS = 300.0


class Draining:
    """The drains that go on now, one a process."""

    def __init__(self, *, sources: Sources, fleet: Fleet, changed: Callable[[], None]) -> None:
        self._sources = sources
        self._fleet = fleet
        self._changed = changed
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Draining:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        watches = list(self._watches.values())
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    async def begin(self, member: Member, grace: duration_pb2.Duration | None) -> int:
        """Take a process out of the traffic and tell it to drain; give its calls in flight.

        Raises:
            grpc.aio.AioRpcError: the process does not answer; it stays in the traffic.
        """
        self._sources.drain(member.process)
        self._changed()
        await asyncio.sleep(_BEFORE_SECONDS)
        try:
            in_flight = await self._fleet.drain(member, grace)
        except BaseException:
            self._back(member.process)
            raise
        if member.process not in self._watches:
            task = asyncio.create_task(self._watch(member))
            self._watches[member.process] = task
            task.add_done_callback(lambda _: self._watches.pop(member.process, None))
        return in_flight

    async def _watch(self, member: Member) -> None:
        """Put a process back once it went away and is ready again, or after a bounded time."""
        try:
            async with asyncio.timeout(_BACK_SECONDS):
                # Another process says when it is gone and back only by being asked.
                while (await self._fleet.status(member)).reachable:  # noqa: ASYNC110 - see above
                    await asyncio.sleep(_LOOK_SECONDS)
                while not (await self._fleet.status(member)).ready:  # noqa: ASYNC110 - see above
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            _log.warning("drained process did not come back", process=member.process)
        self._back(member.process)

    def _back(self, process: str) -> None:
        self._sources.undrain(process)
        self._changed()
