"""The answer of a turn as it grows: text, counts, frames. Values in, values out.

What is written here is what the log, the row and the client hold, byte for
byte: so U+0000, which Postgres cannot store, is dropped here and nowhere else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from soma.errors.v1 import errors_pb2
from soma.orchestrator.v1 import resources_pb2 as turns_pb
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.turnlog import Entry, Frame

BUDGET_EXHAUSTED = "budget_exhausted"
CANCELLED = "cancelled"


class NotTheSameAnswerError(Exception):
    """A model that answers the same way each time did not: what was sent cannot be gone on with."""


@dataclass(slots=True)
class Answer:
    """All that was said so far, and the events that say it."""

    opening: tuple[bytes, ...]
    frames: list[Frame] = field(default_factory=list)
    """Every event after the opening, as written."""
    parts: list[str] = field(default_factory=list)
    output_tokens: int = 0
    ended: "turns_pb.TurnEvent | None" = None

    @classmethod
    def of(cls, entries: Sequence[Entry], *, opening: Iterable[bytes]) -> "Answer":
        """Read what is in the log already."""
        answer = cls(tuple(opening))
        for entry in entries[len(answer.opening) :]:
            event = turns_pb.TurnEvent.FromString(entry.event)
            answer.frames.append(Frame(entry.event, entry.tokens, entry.last))
            answer.output_tokens = entry.tokens
            if entry.last:
                answer.ended = event
            else:
                answer.parts.append(event.delta.text)
        return answer

    @property
    def text(self) -> str:
        """Everything that was said."""
        return "".join(self.parts)

    @property
    def next_seq(self) -> int:
        """Place of the next event."""
        return len(self.opening) + len(self.frames)

    @property
    def lengths(self) -> list[int]:
        """Characters of each delta."""
        return [len(part) for part in self.parts]

    def add(self, text: str, *, tokens: int) -> Frame | None:
        """Say more; None where nothing that can be kept was said."""
        self.output_tokens += tokens
        text = text.replace("\0", "")
        if not text:
            return None
        self.parts.append(text)
        event = turns_pb.TurnEvent(seq=self.next_seq, delta=turns_pb.Delta(text=text))
        frame = Frame(event.SerializeToString(), self.output_tokens)
        self.frames.append(frame)
        return frame

    def complete(self, finish_reason: str, *, input_tokens: int) -> Frame:
        """End with all text there."""
        usage = turns_pb.Usage(
            input_tokens=input_tokens,
            output_tokens=self.output_tokens,
            total_tokens=input_tokens + self.output_tokens,
        )
        completed = turns_pb.Completed(usage=usage, finish_reason=finish_reason)
        return self._end(turns_pb.TurnEvent(seq=self.next_seq, completed=completed))

    def fail(self, reason: errors_pb2.ErrorReason.ValueType, message: str) -> Frame:
        """End without having finished."""
        failed = turns_pb.Failed(reason=reason, message=message)
        return self._end(turns_pb.TurnEvent(seq=self.next_seq, failed=failed))

    def _end(self, event: turns_pb.TurnEvent) -> Frame:
        frame = Frame(event.SerializeToString(), self.output_tokens, last=True)
        self.frames.append(frame)
        self.ended = event
        return frame

    def response(self, request: slm_pb.GenerationRequest) -> slm_pb.GenerationResponse:
        """Tell how it ended, only after it did; in the same bytes, whichever worker does."""
        if self.ended is None:
            raise ValueError("the answer has no end yet")
        response = slm_pb.GenerationResponse(
            id=f"{request.turn_id}-end",
            turn_id=request.turn_id,
            text=self.text,
            input_tokens=request.input_tokens,
            output_tokens=self.output_tokens,
            last_seq=self.next_seq - 1,
            delta_lengths=self.lengths,
        )
        if self.ended.HasField("failed"):
            response.state = slm_pb.GENERATION_STATE_FAILED
            response.reason = self.ended.failed.reason
            response.message = self.ended.failed.message
            return response
        completed = self.ended.completed
        response.finish_reason = completed.finish_reason
        response.input_tokens = completed.usage.input_tokens
        cancelled = completed.finish_reason == CANCELLED
        response.state = slm_pb.GENERATION_STATE_CANCELLED if cancelled else slm_pb.GENERATION_STATE_COMPLETED
        return response


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many tokens may still be made, and which bound that is."""

    tokens: int
    by_budget: bool

    @classmethod
    def of(cls, request: slm_pb.GenerationRequest, *, made: int) -> "Allowance":
        """Take the smaller of what was asked for and what the budget leaves."""
        asked = request.sampling.max_tokens - made
        if not request.budget_tokens:
            return cls(max(0, asked), by_budget=False)
        left = request.budget_tokens - request.input_tokens - made
        return cls(max(0, min(asked, left)), by_budget=left <= asked)

    @property
    def exhausted_reason(self) -> str:
        """Why an answer ends that used all of it."""
        return BUDGET_EXHAUSTED if self.by_budget else "length"


class Skip:
    """Passes over the characters that were sent already, and checks that they are the same."""

    def __init__(self, sent: str) -> None:
        """Expect `sent` first."""
        self._left = sent

    @property
    def done(self) -> bool:
        """Whether all of it was met."""
        return not self._left

    def take(self, text: str) -> str:
        """Return what of `text` is new.

        Raises:
            NotTheSameAnswerError: another text came.
        """
        text = text.replace("\0", "")
        length = min(len(text), len(self._left))
        if text[:length] != self._left[:length]:
            raise NotTheSameAnswerError("the model answered differently when asked again")
        self._left = self._left[length:]
        return text[length:]

    def finish(self) -> None:
        """Say that nothing more comes.

        Raises:
            NotTheSameAnswerError: less came than was sent.
        """
        if self._left:
            raise NotTheSameAnswerError("the model said less when asked again")
