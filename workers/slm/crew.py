"""The turns that this worker holds: takes, renews, takes over, hands over.

Slots are bounded per queue (a model's). A turn that waits for one is not claimed
yet, so that any worker may still take it, and tenants are served in turn. A turn
whose worker died is taken over at once, slot or not: a client is waiting in the
middle of a sentence.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.events.bus import Bus
from mesh.events.records import Record
from mesh.runtime.context import acting_for
from mesh.runtime.errors import Unavailable
from mesh.runtime.logging import get_logger
from mesh.runtime.places import Places
from mesh.runtime.telemetry import Tracer
from mesh.turnlog import Claimed, Leases, LogDamaged, LogUnavailable, Refusal, Signal, TurnKey
from workers.slm.backends import Backends
from workers.slm.config import Settings
from workers.slm.generation import Pace
from workers.slm.turn import RunningTurn, Stop

_log = get_logger(__name__)
_BEAT_SECONDS: Final = 0.4
_BEAT_JITTER: Final = 0.1


@dataclass(slots=True)
class _Held:
    turn: RunningTurn
    task: asyncio.Task[None]


class Crew:
    """All turns of this worker."""

    def __init__(
        self,
        settings: Settings,
        *,
        leases: Leases,
        backends: Backends,
        bus: Bus,
        tracer: Tracer | None = None,
    ) -> None:
        """Hold nothing yet."""
        self._tracer = tracer
        self._settings = settings
        self._leases = leases
        self._backends = backends
        self._bus = bus
        self._held: dict[TurnKey, _Held] = {}
        self._running: Counter[str] = Counter()
        self._rooms: dict[str, Places] = {}
        self._claiming: set[TurnKey] = set()
        self._damaged: set[TurnKey] = set()
        self._takeovers: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def size(self) -> int:
        """How many turns run here."""
        return len(self._held)

    async def handle(self, record: Record[slm_pb.GenerationRequest]) -> None:
        """Claim a requested turn as soon as its model has room; the offset may be committed then.

        Raises:
            Unavailable: Redis does not answer: the record waits.
            LogDamaged: the turn's log is unreadable: the record goes to the dead letters.
        """
        key, request = TurnKey(record.tenant, record.message.turn_id), record.message
        if key in self._held or key in self._claiming:
            return
        slots = max(1, request.model.slots) + self._settings.spare_turns
        room = self._rooms.setdefault(request.queue, Places(slots))
        await room.enter(key.tenant)
        started = False
        try:
            if self._closing:
                await asyncio.get_running_loop().create_future()  # left to the next owner
            started = await self._claim(key, request=request, room=room)
        except LogUnavailable as error:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", str(error)) from error
        finally:
            if not started:
                room.leave(key.tenant)

    async def _claim(
        self, key: TurnKey, *, request: slm_pb.GenerationRequest | None = None, room: Places | None = None
    ) -> bool:
        if key in self._held or key in self._claiming:
            return False
        self._claiming.add(key)
        try:
            claimed = await self._leases.claim(
                key,
                request=b"" if request is None else request.SerializeToString(),
                opening=() if request is None else tuple(request.opening),
            )
        finally:
            self._claiming.discard(key)
        if isinstance(claimed, Refusal):
            _log.info("turn not taken", turn=key.turn_id, cause=claimed.value)
            return False
        try:
            queue = slm_pb.GenerationRequest.FromString(claimed.request).queue
        except DecodeError:
            _log.error("request unreadable: the turn is let go", turn=key.turn_id)
            await self._leases.finish(key, epoch=claimed.epoch, queue="")
            return False
        self._start(claimed, queue, room=room)
        return True

    def _start(self, claimed: Claimed, queue: str, *, room: Places | None) -> None:
        def answered() -> None:
            # The next turn comes into the model while this one's end is written and told.
            self._running[queue] -= 1
            if room is not None:
                room.leave(claimed.key.tenant)

        turn = RunningTurn(
            claimed,
            leases=self._leases,
            backends=self._backends,
            bus=self._bus,
            pace=lambda: self._pace(queue, turn.request.model.slots),
            answered=answered,
            tracer=self._tracer,
        )
        self._running[queue] += 1
        task = asyncio.ensure_future(turn.run())
        self._held[claimed.key] = _Held(turn, task)

        def ended(done: asyncio.Task[None]) -> None:
            self._held.pop(claimed.key, None)
            if not done.cancelled() and (error := done.exception()) is not None:
                _log.error("turn broke off here", turn=claimed.key.turn_id, exc_info=error)

        task.add_done_callback(ended)

    def _pace(self, queue: str, slots: int) -> Pace:
        busy = self._running[queue] > max(1, slots) // 2
        return Pace(
            interval_ms=self._settings.busy_interval_ms if busy else self._settings.interval_ms,
            patience=self._settings.patience_seconds,
            timeout=self._settings.generation_seconds,
        )

    async def beat(self) -> None:
        """Renew what is held and take over what expired, for ever."""
        while True:
            try:
                await self._renew()
            except LogUnavailable as error:
                _log.warning("leases not renewed", held=len(self._held), cause=str(error))
            await asyncio.sleep(_BEAT_SECONDS + _BEAT_JITTER * random.random())  # noqa: S311 - jitter

    async def _renew(self) -> None:
        held = {key: one.turn.epoch for key, one in self._held.items()}
        renewal = await self._leases.renew(held)
        for key in renewal.taken:
            one = self._held.get(key)
            # A recovery may have taken a new epoch while the script ran.
            if one is not None and one.turn.epoch == held[key]:
                one.turn.stop(Stop.TAKEN)
        for key in renewal.gone:
            if (one := self._held.get(key)) is not None:
                self._spawn(one.turn.recover())
        if not self._closing:
            for key in renewal.expired:
                self._spawn(self._take_over(key))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._takeovers.add(task)
        task.add_done_callback(self._takeovers.discard)

    async def _take_over(self, key: TurnKey) -> None:
        if key in self._damaged:
            return
        try:
            with acting_for(tenant=key.tenant, method="worker-slm/takeover"):
                if await self._claim(key):
                    _log.info("turn taken over", turn=key.turn_id)
        except LogUnavailable as error:
            _log.warning("takeover failed", turn=key.turn_id, cause=str(error))
        except LogDamaged as error:
            self._damaged.add(key)
            _log.error("log unreadable", turn=key.turn_id, cause=str(error))

    def heard(self, signal: Signal) -> None:
        """Act on a signal: cancel what is ours, take what became free."""
        if signal.word == "cancel" and (one := self._held.get(signal.key)) is not None:
            one.turn.stop(Stop.CANCEL)
        elif signal.word == "release" and not self._closing and signal.key not in self._held:
            self._spawn(self._take_over(signal.key))

    @contextlib.asynccontextmanager
    async def on_duty(self) -> AsyncIterator["Crew"]:
        """Work; at the end let short turns finish and hand the others over."""
        try:
            yield self
        finally:
            self._closing = True
            tasks = [one.task for one in self._held.values()]
            if tasks:
                await asyncio.wait(tasks, timeout=self._settings.finish_seconds)
            for one in list(self._held.values()):
                one.turn.stop(Stop.HAND_OVER)
            rest = [one.task for one in self._held.values()] + list(self._takeovers)
            if rest:
                _log.info("turns handed over", turns=len(self._held))
                await asyncio.wait(rest, timeout=2.0)
