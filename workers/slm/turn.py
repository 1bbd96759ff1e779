"""One turn that this worker holds, from its claim to its end or its hand-over."""

import asyncio
import contextlib
import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from soma.errors.v1 import errors_pb2
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.events.bus import Bus
from mesh.events.records import Record
from mesh.runtime.errors import SomaError
from mesh.runtime.logging import get_logger
from mesh.runtime.telemetry import Tracer, work
from mesh.turnlog import Claimed, Leases, NotMine
from workers.slm.answer import CANCELLED, Answer, NotTheSameAnswerError
from workers.slm.backends import Backends
from workers.slm.generation import Generation, Pace
from workers.slm.journal import Journal

_log = get_logger(__name__)
_PUBLISH_PAUSE: Final = 0.5
RESPONSES: Final = "slm.responses"


class Stop(enum.Enum):
    """Why a running turn is to stop."""

    CANCEL = enum.auto()
    """The client wants no more: end it with what there is."""
    TAKEN = enum.auto()
    """Somebody else has it: leave it."""
    HAND_OVER = enum.auto()
    """This worker stops: give the lease back."""


class RunningTurn:
    """Runs one claimed turn."""

    def __init__(
        self,
        claimed: Claimed,
        *,
        leases: Leases,
        backends: Backends,
        bus: Bus,
        pace: Callable[[], Pace],
        answered: Callable[[], None],
        tracer: Tracer | None = None,
    ) -> None:
        """Read what the claim found; `answered` is called once when the model has nothing more to do."""
        self.key = claimed.key
        self.request = slm_pb.GenerationRequest.FromString(claimed.request)
        self.answer = Answer.of(claimed.entries, opening=self.request.opening)
        self.journal = Journal(leases, claimed, self.answer)
        self._leases = leases
        self._bus = bus
        self._pace = pace
        self._answered = answered
        self._tracer = tracer
        self._generation = Generation(self.request, self.answer, self.journal, backends)
        self._stop = Stop.CANCEL if claimed.cancelled else None
        self._asking: asyncio.Task[str] | None = None

    @property
    def epoch(self) -> int:
        """The epoch it is written in."""
        return self.journal.epoch

    def stop(self, why: Stop) -> None:
        """Stop it soon; the model's slot is free at once."""
        if self._stop in (None, Stop.CANCEL):
            self._stop = why
        if self._asking is not None:
            self._asking.cancel()

    async def run(self) -> None:
        """Generate, write, publish, finish."""
        try:
            try:
                if self.answer.ended is None:
                    with work(self._tracer, f"generate {self.request.model.name}"):
                        await self._generate()
            finally:
                self._answered()
            if self._stop is Stop.HAND_OVER and self.answer.ended is None:
                await self._leases.release(self.key, epoch=self.epoch)
                return
            await self.journal.flush()
            await self._publish()
            await self._leases.finish(self.key, epoch=self.epoch, queue=self.request.queue)
        except NotMine as error:
            _log.info("turn is another's", turn=self.key.turn_id, cause=str(error))
        finally:
            self.journal.abandon()

    async def recover(self) -> None:
        """Claim it again: Redis lost it."""
        try:
            await self.journal.recover("redis lost the lease")
            await self.journal.write()
        except NotMine:
            self.stop(Stop.TAKEN)

    async def _generate(self) -> None:
        try:
            reason = await self._finish_reason()
        except SomaError as error:
            self.answer.fail(_reason(error.reason), error.message)
        except NotTheSameAnswerError as error:
            self.answer.fail(errors_pb2.ERROR_REASON_MODEL_UNAVAILABLE, str(error))
        else:
            if reason:
                self.answer.complete(reason, input_tokens=self._generation.input_tokens)

    async def _finish_reason(self) -> str:
        """Ask the model; "" where the turn is left to another worker."""
        if self._stop is None and self._expired():
            self.answer.fail(
                errors_pb2.ERROR_REASON_DEADLINE_EXCEEDED, "the turn waited too long for its model"
            )
            return ""
        if self._stop is None:
            self._asking = asyncio.ensure_future(self._generation.run(self._pace()))
            try:
                await asyncio.wait((self._asking,))
            finally:
                if not self._asking.done():
                    self._asking.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await self._asking
            if not self._asking.cancelled():
                return self._asking.result()
        if self._stop is Stop.TAKEN:
            raise NotMine("it was taken over")
        return CANCELLED if self._stop is Stop.CANCEL else ""

    def _expired(self) -> bool:
        if not self.request.HasField("expire_time"):
            return False
        return self.request.expire_time.ToDatetime(tzinfo=UTC) < datetime.now(UTC)

    async def _publish(self) -> None:
        """Publish the end; Kafka may be away for longer than a request waits."""
        record = Record(
            id=f"{self.key.turn_id}-end",
            topic=RESPONSES,
            key=self.key.turn_id,
            tenant=self.key.tenant,
            message=self.answer.response(self.request),
        )
        while True:
            try:
                await self._bus.publish(record)
            except SomaError as error:
                _log.warning("end not published yet", turn=self.key.turn_id, cause=error.message)
                await asyncio.sleep(_PUBLISH_PAUSE)
            else:
                return


def _reason(reason: int | str) -> errors_pb2.ErrorReason.ValueType:
    if isinstance(reason, str):
        return errors_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}")
    return errors_pb2.ErrorReason.ValueType(reason)
