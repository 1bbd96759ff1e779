"""soma.orchestrator.v1.Turns; its streams are the bytes of the turn log, passed through."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb
from soma.orchestrator.v1 import service_pb2_grpc as rpc

from mesh.policy import Decisions
from mesh.runtime.context import current
from services.orchestrator.asking import Asked
from services.orchestrator.conversion import turn_message
from services.orchestrator.intake import Intake
from services.orchestrator.sessions import Sessions
from services.orchestrator.streaming import Streaming
from services.orchestrator.turns import Turns

RAW_RESPONSES = ("StreamTurn", "ResumeTurn")


class TurnsServicer(rpc.TurnsServicer):
    """Turns of a session."""

    def __init__(
        self,
        *,
        intake: Intake,
        streaming: Streaming,
        turns: Turns,
        sessions: Sessions,
        decisions: Decisions,
    ) -> None:
        """Serve with these."""
        self._intake = intake
        self._streaming = streaming
        self._turns = turns
        self._sessions = sessions
        self._decisions = decisions

    async def CreateTurn(self, request: rpc_pb.CreateTurnRequest, context: Any) -> pb.Turn:
        """Run a turn to its end."""
        turn = await self._intake.open(Asked.of(request))
        if turn.running:
            async with contextlib.aclosing(self._streaming.events(turn)) as events:
                told = [event async for event in events]
            turn = await self._turns.ended(turn, told)
        return turn_message(turn)

    async def StreamTurn(  # type: ignore[override]  # bytes, see RAW_RESPONSES
        self, request: rpc_pb.StreamTurnRequest, context: Any
    ) -> AsyncGenerator[bytes, None]:
        """Run a turn and stream it."""
        turn = await self._intake.open(Asked.of(request))
        await context.send_initial_metadata(())
        async with contextlib.aclosing(self._streaming.events(turn)) as events:
            async for event in events:
                yield event

    async def ResumeTurn(  # type: ignore[override]  # bytes, see RAW_RESPONSES
        self, request: rpc_pb.ResumeTurnRequest, context: Any
    ) -> AsyncGenerator[bytes, None]:
        """Stream a turn from an event on."""
        turn = await self._turns.find(current().tenant, request.session_id, request.turn_id)
        if turn.running:
            await context.send_initial_metadata(())
        following = self._streaming.events(turn, from_seq=request.from_seq)
        async with contextlib.aclosing(following) as events:
            async for event in events:
                yield event

    async def CancelTurn(self, request: rpc_pb.CancelTurnRequest, context: Any) -> pb.Turn:
        """Stop a turn."""
        turn = await self._turns.find(current().tenant, request.session_id, request.turn_id)
        await self._decisions.decide(
            action="turns.create", attributes={"resource.type": "turn", "resource.id": turn.id}
        )
        return turn_message(await self._turns.cancel(turn))

    async def GetTurn(self, request: rpc_pb.GetTurnRequest, context: Any) -> pb.Turn:
        """Return a turn."""
        turn = await self._turns.find(current().tenant, request.session_id, request.turn_id)
        return turn_message(await self._turns.current(turn))

    async def ListTurns(self, request: rpc_pb.ListTurnsRequest, context: Any) -> rpc_pb.ListTurnsResponse:
        """List a session's turns."""
        page = await self._sessions.turns(
            request.session_id, size=request.page_size, token=request.page_token
        )
        return rpc_pb.ListTurnsResponse(turns=map(turn_message, page.items), next_page_token=page.next_token)
