"""A turn's events: from its row once it ended, from its log while it runs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Final

from soma.orchestrator.v1 import resources_pb2 as pb
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.runtime.errors import Aborted, Unavailable
from mesh.runtime.logging import get_logger
from mesh.storage.database import Database
from mesh.turnlog import Admission, LogDamaged, LogReader, LogUnavailable, TurnKey
from services.orchestrator import errors, store
from services.orchestrator.domain.conversation import Turn
from services.orchestrator.domain.stream import events_of, last_seq

_log = get_logger(__name__)
_PATIENCE_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.2


class Streaming:
    """Follows turns; any replica can, from any event on."""

    def __init__(
        self, *, database: Database, reader: LogReader, admission: Admission, ping_seconds: float
    ) -> None:
        """Take where rows and logs are."""
        self._database = database
        self._reader = reader
        self._admission = admission
        self._ping = ping_seconds

    async def events(self, turn: Turn, *, from_seq: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield serialized events from `from_seq` to the last one; pings where nothing happens.

        Raises:
            InvalidArgument: the turn ended before `from_seq`.
            Unavailable: the log does not answer; resume.
            Aborted: the log lost events that were sent; read again from 0.
        """
        expected = from_seq
        away_since: float | None = None
        while True:
            if not turn.running:
                for raw in self._rest(turn, expected, asked=from_seq):
                    yield raw
                return
            try:
                async with contextlib.aclosing(self._follow(turn, expected)) as following:
                    async for step in following:
                        away_since = None
                        if step is None:
                            break
                        expected += step[1]
                        yield step[0]
                    else:
                        self._check_reached(expected, from_seq)
                        return
            except LogDamaged as error:
                raise Aborted("INTERNAL", "the turn's log went back; read it again from 0") from error
            except LogUnavailable as error:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > _PATIENCE_SECONDS:
                    raise Unavailable(
                        "DEPENDENCY_UNAVAILABLE", "the turn log does not answer; resume", retry_after=1.0
                    ) from error
                await asyncio.sleep(_PAUSE_SECONDS)
            turn = await self._again(turn)

    @staticmethod
    def _check_reached(expected: int, from_seq: int) -> None:
        if from_seq and expected == from_seq:
            raise errors.past_the_end(from_seq, from_seq - 1)

    @staticmethod
    def _rest(turn: Turn, expected: int, *, asked: int) -> list[bytes]:
        if expected > last_seq(turn) and expected == asked:
            raise errors.past_the_end(asked, last_seq(turn))
        return list(events_of(turn, from_seq=expected))

    async def _follow(self, turn: Turn, from_seq: int) -> AsyncGenerator[tuple[bytes, int] | None, None]:
        """Yield (event, 1 where it has a seq); None when the row has to be looked at."""
        key = TurnKey(turn.tenant, turn.id)
        reading = self._reader.follow(key, from_seq=from_seq, pause=self._ping)
        async with contextlib.aclosing(reading) as batches:
            async for entries in batches:
                if entries is not None:
                    for entry in entries:
                        yield entry.event, 1
                    continue
                yield await self._ping_of(turn, key), 0
                if not (await self._again(turn)).running:
                    yield None
                    return

    async def _ping_of(self, turn: Turn, key: TurnKey) -> bytes:
        request = slm_pb.GenerationRequest.FromString(turn.request)
        position = await self._admission.position(request.queue, key, slots=request.model.slots)
        return pb.TurnEvent(ping=pb.Ping(queue_position=position)).SerializeToString()

    async def _again(self, turn: Turn) -> Turn:
        """Read the row again: a log that vanished shows nowhere else."""
        async with self._database.transaction(tenant=turn.tenant, readonly=True) as connection:
            fresh = await store.turn(connection, turn.id)
        if fresh is None:
            raise errors.no_turn(turn.id)
        return fresh
