"""Writes how a turn ended: text, usage, citations, audit and event in one transaction.

Exactly once in effect: whoever comes second (a record delivered again, the
reaper, a cancel) finds the row ended and changes nothing.
"""

from dataclasses import replace
from typing import Any, Final

from soma.orchestrator.v1 import resources_pb2 as pb
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.events.bus import Bus
from mesh.events.records import Record, seal
from mesh.runtime.clock import Clock
from mesh.runtime.logging import get_logger
from mesh.storage.database import Database
from mesh.turnlog import Leases, TurnKey, TurnLogError
from services.orchestrator import events, store
from services.orchestrator.conversion import turn_message
from services.orchestrator.domain.citations import cited
from services.orchestrator.domain.conversation import Ending, State, Turn
from services.orchestrator.domain.stream import ending_of_response, recalled_in

_log = get_logger(__name__)
_OUTCOMES: Final = {
    State.COMPLETED: "completed",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
}


class Completion:
    """Ends turns."""

    def __init__(self, *, database: Database, bus: Bus, leases: Leases, clock: Clock) -> None:
        """Take where rows and events go, and what keeps logs."""
        self._database = database
        self._bus = bus
        self._leases = leases
        self._clock = clock

    async def handle(self, record: Record[slm_pb.GenerationResponse]) -> None:
        """End the turn that a worker tells of; the consumer's handler.

        Raises:
            ValueError: a state that we do not know: the record goes to the dead letters.
        """
        response = record.message
        await self.end(record.tenant, response.turn_id, ending_of_response(response))

    async def end(self, tenant: str, turn_id: str, ending: Ending) -> Turn | None:
        """Write an ending and let go of the log; return the turn as it is then, None where it was deleted."""
        turn = await self._end(tenant, turn_id, ending)
        try:
            await self._leases.stored(TurnKey(tenant, turn_id))
        except TurnLogError as error:
            _log.info("log is kept for longer", turn=turn_id, cause=str(error))
        return turn

    async def _end(self, tenant: str, turn_id: str, ending: Ending) -> Turn | None:
        async with self._database.transaction(tenant=tenant) as connection:
            turn = await store.turn(connection, turn_id, lock=True)
            if turn is None or not turn.running:
                return turn
            ended = self._ended(turn, ending)
            request = slm_pb.GenerationRequest.FromString(turn.request)
            leaving = [seal(self._audit(ended)), seal(self._event(ended, request))]
            await store.end_turn(
                connection,
                turn_id,
                ending,
                citations=ended.citations,
                now=ended.end_time or self._clock.now(),
                leaving=leaving,
            )
        self._bus.leave(leaving)
        return ended

    def _ended(self, turn: Turn, ending: Ending) -> Turn:
        used = cited(ending.text, recalled_in(turn.opening))
        return replace(
            turn,
            state=ending.state,
            text=ending.text,
            finish=ending.finish,
            input_tokens=ending.input_tokens,
            output_tokens=ending.output_tokens,
            delta_lengths=ending.delta_lengths,
            error_reason=ending.error_reason,
            error_message=ending.error_message,
            citations=pb.Recalled(citations=used).SerializeToString(),
            request=b"",
            end_time=self._clock.now(),
        )

    def _event(self, turn: Turn, request: slm_pb.GenerationRequest) -> Record[Any]:
        now = turn.end_time or self._clock.now()
        return events.turn_ended(turn, turn_message(turn), model=request.model, now=now)

    def _audit(self, turn: Turn) -> Record[Any]:
        return events.audit(
            action="turns.end",
            actor=turn.subject,
            resource=turn.id,
            outcome=_OUTCOMES[turn.state],
            now=turn.end_time or self._clock.now(),
            tenant=turn.tenant,
            decision_id=turn.decision_id,
            policy_version=turn.policy_version,
            details={
                "session": turn.session_id,
                "persona": turn.persona,
                "model": turn.model,
                "finish_reason": turn.finish.word,
                "input_tokens": str(turn.input_tokens),
                "output_tokens": str(turn.output_tokens),
            },
        )
