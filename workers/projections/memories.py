"""Topic `turns.events` to the memory service."""

from typing import Final

import grpc.aio
from soma.memory.v1 import service_pb2, service_pb2_grpc
from soma.orchestrator.v1 import resources_pb2 as turns
from soma.orchestrator.v1.events_pb2 import TurnEnded

from mesh.events.records import Record
from mesh.runtime.errors import InvalidArgument

_SECONDS: Final = 30.0


class MemoryProjection:
    """Remembers turns that were completed, where the persona remembers. One turn is one memory at most."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Take a channel to the memory service."""
        self._memories = service_pb2_grpc.MemoriesStub(channel)

    async def handle(self, record: Record[TurnEnded]) -> None:
        """Return when the turn is remembered, or need not be.

        Raises:
            InvalidArgument: the event belongs to no tenant.
            grpc.aio.AioRpcError: the memory service refused it or does not answer.
        """
        if not worth_remembering(record.message):
            return
        if not record.tenant:
            raise InvalidArgument("INVALID_ARGUMENT", f"turn event {record.id} has no tenant")
        turn = record.message.turn
        await self._memories.RememberTurn(
            service_pb2.RememberTurnRequest(
                session_id=turn.session_id,
                turn_id=turn.id,
                input=turn.input.text,
                answer=turn.text,
                request_id=turn.id,
            ),
            timeout=_SECONDS,
        )


def worth_remembering(event: TurnEnded) -> bool:
    """Say whether memory keeps a turn: its persona remembers, and both sides said something to the end."""
    turn = event.turn
    return (
        event.remember
        and turn.state == turns.TURN_STATE_COMPLETED
        and bool(turn.input.text.strip())
        and bool(turn.text.strip())
    )
