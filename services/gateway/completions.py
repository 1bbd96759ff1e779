"""Chat completions on turns: one session and one turn of a persona for each completion."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from soma.orchestrator.v1 import resources_pb2, service_pb2, service_pb2_grpc

from mesh.runtime import status
from mesh.runtime.errors import NotFound, PermissionDenied, SomaError, Unavailable
from services.gateway import chat

FINISH = {"stop": "stop", "length": "length", "budget_exhausted": "length", "cancelled": "stop"}
ROLES = {
    "system": service_pb2.ROLE_SYSTEM,
    "user": service_pb2.ROLE_USER,
    "assistant": service_pb2.ROLE_ASSISTANT,
}
TURN_SECONDS = 600.0
EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs leave it out


@dataclass(slots=True, kw_only=True)
class Completion:
    """A turn that answers a chat completion, and what is known of it so far."""

    request: chat.ChatRequest
    session_id: str
    turn_id: str
    created: int
    events: Any
    citations: list[resources_pb2.Citation] = field(default_factory=list)
    ended: bool = False

    @property
    def head(self) -> chat.Head:
        """What every body of the completion begins with."""
        identity = f"chatcmpl-{self.turn_id.removeprefix('trn_')}"
        return chat.Head(identity=identity, created=self.created, model=self.request.model)

    def soma(self) -> chat.Json:
        """What SomaAgent knows beyond OpenAI's shapes."""
        return {
            "session_id": self.session_id,
            "turn_id": self.turn_id,
            "citations": [
                {"number": c.number, "title": c.title, "source": c.source, "document_id": c.document_id}
                for c in self.citations
            ],
        }


class Completions:
    """Runs chat completions as turns."""

    def __init__(self, orchestrator: grpc.aio.Channel) -> None:
        self._sessions = service_pb2_grpc.SessionsStub(orchestrator)
        self._turns = service_pb2_grpc.TurnsStub(orchestrator)
        self._personas = service_pb2_grpc.PersonasStub(orchestrator)

    async def start(self, request: chat.ChatRequest, *, request_id: str) -> Completion:
        """Start the turn and wait until it is accepted.

        Raises:
            NotFound: no persona has the model's name.
            SomaError: the policy, a bound or a server refused.
        """
        session = await self._session(request.model, request_id)
        events = self._turns.StreamTurn(_turn(request, session.id, request_id), timeout=TURN_SECONDS)
        first: Any = await events.read()
        if first is EOF:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "the turn's stream ended before it began")
        refusal = _refusal(first)
        if refusal is not None:
            raise refusal
        return Completion(
            request=request,
            session_id=session.id,
            turn_id=first.accepted.turn_id,
            created=int(time.time()),
            events=events,
        )

    async def _session(self, model: str, request_id: str) -> resources_pb2.Session:
        try:
            await self._personas.GetPersona(service_pb2.GetPersonaRequest(name=model))
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}:
                message = f"the model {model[:64]!r} does not exist"
                raise NotFound("MODEL_NOT_FOUND", message, metadata={"param": "model"}) from None
            raise
        return await self._sessions.CreateSession(
            service_pb2.CreateSessionRequest(persona=model, request_id=request_id)
        )

    async def stream(self, completion: Completion) -> AsyncIterator[bytes]:
        """The server-sent events of a completion; an error in the middle is the last of them."""
        head = completion.head
        yield chat.chunk(head, delta={"role": "assistant", "content": ""})
        async for event in self._follow(completion):
            kind = event.WhichOneof("event")
            if kind == "delta":
                yield chat.chunk(head, delta={"content": event.delta.text})
            elif kind == "ping":
                yield chat.PING
            elif kind == "completed":
                finish = FINISH[event.completed.finish_reason]
                yield chat.chunk(head, delta={}, finish=finish, soma=completion.soma())
                if completion.request.include_usage:
                    yield chat.chunk(head, delta=None, usage=_usage(event))
                yield chat.DONE
            elif (refusal := _refusal(event)) is not None:
                yield chat.failure(reason=status.reason_name(refusal.reason), message=refusal.message)
                yield chat.DONE

    async def whole(self, completion: Completion) -> bytes:
        """The body of a completion.

        Raises:
            SomaError: the turn was refused or failed.
        """
        parts: list[str] = []
        async for event in self._follow(completion):
            kind = event.WhichOneof("event")
            if kind == "delta":
                parts.append(event.delta.text)
            elif kind == "completed":
                return chat.completion(
                    completion.head,
                    text="".join(parts),
                    finish=FINISH[event.completed.finish_reason],
                    usage=_usage(event),
                    soma=completion.soma(),
                )
            elif (refusal := _refusal(event)) is not None:
                raise refusal
        raise Unavailable("DEPENDENCY_UNAVAILABLE", "the turn's stream ended before the turn")

    async def _follow(self, completion: Completion) -> AsyncIterator[resources_pb2.TurnEvent]:
        """The events after the first; a lost stream is resumed where it broke."""
        sequence = 1
        events = completion.events
        while not completion.ended:
            try:
                # `read`, since the first event was read so and the two ways may not be mixed.
                while (event := await events.read()) is not EOF:
                    if event.HasField("seq"):
                        sequence = event.seq + 1
                    kind = event.WhichOneof("event")
                    if kind == "recalled":
                        completion.citations.extend(event.recalled.citations)
                    completion.ended = kind in {"completed", "refused", "failed"}
                    yield event
                if not completion.ended:
                    raise Unavailable("DEPENDENCY_UNAVAILABLE", "the turn's stream ended before the turn")
            except grpc.aio.AioRpcError as error:
                if status.read(error).code is not grpc.StatusCode.UNAVAILABLE:
                    raise
                events = self._turns.ResumeTurn(
                    service_pb2.ResumeTurnRequest(
                        session_id=completion.session_id, turn_id=completion.turn_id, from_seq=sequence
                    ),
                    timeout=TURN_SECONDS,
                    wait_for_ready=True,
                )

    async def abandon(self, completion: Completion) -> None:
        """Cancel the turn of a client that went away: an OpenAI client has no way to come back to it."""
        if completion.ended:
            return
        completion.events.cancel()
        await self._turns.CancelTurn(
            service_pb2.CancelTurnRequest(session_id=completion.session_id, turn_id=completion.turn_id)
        )


def _turn(request: chat.ChatRequest, session_id: str, request_id: str) -> service_pb2.StreamTurnRequest:
    options = service_pb2.GenerationOptions(max_tokens=request.max_tokens, stop=request.stop)
    if request.temperature is not None:
        options.temperature = request.temperature
    if request.top_p:
        options.top_p = request.top_p
    if request.seed is not None:
        options.seed = request.seed
    history = [service_pb2.Message(role=ROLES[m.role], text=m.text) for m in request.messages[:-1]]
    return service_pb2.StreamTurnRequest(
        session_id=session_id,
        input=service_pb2.TurnInput(text=request.messages[-1].text, history=history),
        request_id=request_id,
        options=options,
    )


def _usage(event: resources_pb2.TurnEvent) -> chat.Usage:
    usage = event.completed.usage
    return chat.Usage(prompt=usage.input_tokens, completion=usage.output_tokens)


def _refusal(event: resources_pb2.TurnEvent) -> SomaError | None:
    """The error that a refused or failed event stands for."""
    kind = event.WhichOneof("event")
    if kind == "refused":
        return PermissionDenied(event.refused.reason, event.refused.message)
    if kind == "failed":
        return Unavailable(event.failed.reason, event.failed.message)
    return None
