"""What a client asks for, a turn on its way in, and the generation request that comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb
from soma.slm.v1 import events_pb2 as slm_pb
from soma.slm.v1 import resources_pb2 as models_pb

from mesh.policy import Decision
from mesh.runtime.context import CallContext
from mesh.turnlog import TurnKey
from services.orchestrator import errors, events
from services.orchestrator.domain import prompt as prompts
from services.orchestrator.domain.conversation import Said, Session, Turn
from services.orchestrator.domain.personas import Persona
from services.orchestrator.tokens import TokenCounter

_ROLES: Final = {
    rpc_pb.ROLE_SYSTEM: "system",
    rpc_pb.ROLE_USER: "user",
    rpc_pb.ROLE_ASSISTANT: "assistant",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client asks for."""

    session_id: str
    text: str
    history: tuple[Said, ...]
    options: rpc_pb.GenerationOptions

    @classmethod
    def of(cls, request: rpc_pb.StreamTurnRequest | rpc_pb.CreateTurnRequest) -> "Asked":
        """Read a request; U+0000, which no store can hold, is dropped.

        Raises:
            InvalidArgument: nothing else was said.
        """
        text = request.input.text.replace("\0", "")
        if not text.strip():
            raise errors.nothing_said()
        return cls(
            session_id=request.session_id,
            text=text,
            history=tuple(Said(_ROLES[message.role], message.text) for message in request.input.history),
            options=request.options,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A turn on its way into the database."""

    call: CallContext
    asked: Asked
    session: Session
    persona: Persona
    decision: Decision
    turn: Turn

    @property
    def key(self) -> TurnKey:
        """Where the turn's log is."""
        return TurnKey(self.turn.tenant, self.turn.id)

    @property
    def recalls(self) -> bool:
        """Whether memory is asked: as the client says, else as the persona does."""
        options = self.asked.options
        return options.recall if options.HasField("recall") else self.persona.recall


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a turn needs beside its own words."""

    model: models_pb.Model
    queue: str
    queue_position: int
    recalled: tuple[pb.Citation, ...] | None


class RequestWriter:
    """Writes generation requests: the prompt within the model's window, and how to sample."""

    def __init__(self, *, tokens: TokenCounter, turn_lasts: timedelta) -> None:
        """Count tokens with `tokens`; a generation is refused `turn_lasts` after its turn was made."""
        self._tokens = tokens
        self._turn_lasts = turn_lasts

    def request(
        self, draft: Draft, found: Found, history: Sequence[Said], opening: Sequence[bytes]
    ) -> slm_pb.GenerationRequest:
        """Write the request of a turn.

        Raises:
            ResourceExhausted: BUDGET_EXHAUSTED by the prompt alone.
            InvalidArgument: CONTEXT_TOO_LONG, or an option that the model does not take.
        """
        prompt = self._prompt(draft, found, history)
        options, persona, extract = (
            draft.asked.options,
            draft.persona,
            found.model.task == models_pb.TASK_EXTRACT,
        )
        budget = options.budget_tokens
        if budget and prompt.input_tokens >= budget:
            raise errors.budget_too_small(prompt.input_tokens, budget)
        chatml = found.model.provider == models_pb.PROVIDER_TRITON and not extract
        sampling = slm_pb.SamplingOptions(
            max_tokens=prompt.max_tokens,
            min_tokens=self._min_tokens(options, found.model, most=prompt.max_tokens),
            temperature=options.temperature if options.HasField("temperature") else persona.temperature,
            stop=[*options.stop, *(prompts.STOP if chatml else ())],
        )
        if options.HasField("top_p"):
            sampling.top_p = options.top_p
        if options.HasField("seed"):
            sampling.seed = options.seed
        return slm_pb.GenerationRequest(
            id=f"{draft.turn.id}-request",
            turn_id=draft.turn.id,
            session_id=draft.session.id,
            model=found.model,
            prompt=prompt.text,
            messages=[slm_pb.PromptMessage(role=m.role, text=m.text) for m in prompt.messages],
            sampling=sampling,
            budget_tokens=budget,
            input_tokens=prompt.input_tokens,
            first_seq=len(opening),
            opening=opening,
            queue=found.queue,
            expire_time=events.timestamp(self._expiry(draft.turn.create_time)),
        )

    def _min_tokens(self, options: rpc_pb.GenerationOptions, model: models_pb.Model, *, most: int) -> int:
        """The least tokens asked for; other dialects and providers have no such option."""
        vllm = model.dialect in (models_pb.DIALECT_UNSPECIFIED, models_pb.DIALECT_VLLM)
        generates = model.provider == models_pb.PROVIDER_TRITON and model.task == models_pb.TASK_GENERATE
        if options.min_tokens and not (generates and vllm):
            raise errors.no_min_tokens(model.name)
        return min(options.min_tokens, most)

    def _expiry(self, created: datetime) -> datetime:
        return created + self._turn_lasts

    def _prompt(self, draft: Draft, found: Found, history: Sequence[Said]) -> prompts.Prompt:
        model, persona = found.model, draft.persona
        asked_tokens = draft.asked.options.max_tokens or persona.max_tokens
        window = model.context_tokens or 2**31
        most = min(asked_tokens, model.max_output_tokens or asked_tokens)
        sources = [prompts.Source(number=c.number, title=c.title, text=c.text) for c in found.recalled or ()]
        count = self._tokens.of(model.name)
        question = draft.asked.text
        try:
            if model.task == models_pb.TASK_EXTRACT:
                return prompts.extraction(
                    question=question, sources=sources, window=window, max_tokens=most, count=count
                )
            return prompts.generation(
                instructions=persona.instructions, question=question, history=history,
                sources=sources, window=window, max_tokens=most, count=count,
            )  # fmt: skip
        except prompts.TooLongError as error:
            raise errors.context_too_long(error.needed, error.window) from error
