"""Looks after turns that run and that nobody has: Redis lost them, or a process died at the wrong moment.

A turn whose log says it ended is ended; one with neither lease nor log, or with
a log that nobody can find, is published again (claims make that harmless); one
that waited past its time is failed. One replica at a time does this.
"""

import asyncio
import random
import time
from datetime import timedelta
from typing import Final

from soma.errors.v1 import errors_pb2
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.events.bus import Bus
from mesh.runtime.clock import Clock
from mesh.runtime.context import acting_for
from mesh.runtime.errors import SomaError
from mesh.runtime.logging import get_logger
from mesh.storage.database import Database
from mesh.turnlog import Leases, Standing, TurnKey, TurnLogError
from services.orchestrator import events, store
from services.orchestrator.domain.conversation import Turn
from services.orchestrator.turns import Turns

_log = get_logger(__name__)
_LOCK: Final = 0x54_55_52_4E  # any number that nobody else locks in this database
_EVERY_SECONDS: Final = 3.0
_LEAST_AGE_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 15.0
_MOST: Final = 200
_GRACE: Final = timedelta(seconds=30)


class Reaper:
    """Goes round every few seconds."""

    def __init__(
        self,
        *,
        database: Database,
        leases: Leases,
        turns: Turns,
        bus: Bus,
        clock: Clock,
        turn_seconds: float,
    ) -> None:
        """Take what tells where a turn stands."""
        self._database = database
        self._leases = leases
        self._turns = turns
        self._bus = bus
        self._clock = clock
        self._longest_wait = timedelta(seconds=turn_seconds) + _GRACE
        self._published: dict[str, float] = {}

    async def run(self) -> None:
        """Go round for ever."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
            try:
                await self.round()
            except Exception as error:  # noqa: BLE001 - a store is away; the next round comes
                _log.warning("round broke off", cause=f"{type(error).__name__}: {error}")

    async def round(self) -> None:
        """Look at every turn that has run for some seconds."""
        async with self._database.transaction_all_tenants() as connection:
            if not await store.try_lock(connection, _LOCK):
                return
            overdue = await store.overdue_turns(connection, older_than=_LEAST_AGE_SECONDS, limit=_MOST)
        still = {turn.id for turn in overdue}
        self._published = {one: at for one, at in self._published.items() if one in still}
        for turn in overdue:
            with acting_for(tenant=turn.tenant, method="orchestrator/reaper"):
                await self._look_at(turn)

    async def _look_at(self, turn: Turn) -> None:
        try:
            standing = await self._leases.standing(TurnKey(turn.tenant, turn.id))
        except TurnLogError as error:
            _log.warning("standing unknown", turn=turn.id, cause=str(error))
            return
        if standing is Standing.LEASED:
            return
        if standing is Standing.DONE:
            ended = await self._turns.current(turn)
            if not ended.running:
                _log.info("turn ended from its log", turn=turn.id)
                return
        if self._clock.now() - turn.create_time > self._longest_wait:
            await self._turns.fail(
                turn,
                reason=errors_pb2.ERROR_REASON_DEADLINE_EXCEEDED,
                message="the turn waited too long for its model",
            )
            _log.warning("turn failed: it waited too long", turn=turn.id)
        elif standing in (Standing.ABSENT, Standing.ORPHANED):
            await self._publish_again(turn, standing)

    async def _publish_again(self, turn: Turn, standing: Standing) -> None:
        now = time.monotonic()
        if now - self._published.get(turn.id, float("-inf")) < _AGAIN_SECONDS:
            return
        self._published[turn.id] = now
        request = slm_pb.GenerationRequest.FromString(turn.request)
        try:
            await self._bus.publish(events.generation(turn, request))
        except SomaError as error:
            _log.warning("turn not published again", turn=turn.id, cause=error.message)
            return
        _log.info("turn published again", turn=turn.id, standing=standing.value)
