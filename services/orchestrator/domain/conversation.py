"""Sessions and turns as the service holds them."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum


class State(IntEnum):
    """Where a turn is; the numbers are those of `soma.orchestrator.v1.TurnState`."""

    RUNNING = 1
    COMPLETED = 2
    REFUSED = 3
    FAILED = 4
    CANCELLED = 5


class Finish(IntEnum):
    """Why a text ends; the numbers are those of `soma.orchestrator.v1.FinishReason`."""

    NONE = 0
    STOP = 1
    LENGTH = 2
    BUDGET_EXHAUSTED = 3
    CANCELLED = 4

    @classmethod
    def of(cls, word: str) -> "Finish":
        """Read the word that events carry."""
        return cls[word.upper()] if word else cls.NONE

    @property
    def word(self) -> str:
        """The word that events carry."""
        return self.name.lower() if self is not Finish.NONE else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A conversation."""

    id: str
    tenant: str
    persona: str
    display_name: str
    turn_count: int
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One exchange."""

    id: str
    tenant: str
    session_id: str
    number: int
    state: State
    input: str
    text: str
    finish: Finish
    input_tokens: int
    output_tokens: int
    citations: bytes
    """A serialized `Recalled`: the passages that the answer stands on."""
    decision_id: str
    policy_version: int
    persona: str
    model: str
    subject: str
    error_reason: int
    error_message: str
    opening: tuple[bytes, ...]
    delta_lengths: tuple[int, ...]
    request: bytes
    create_time: datetime
    end_time: datetime | None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state is State.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a turn ended: what the completion writes into its row."""

    state: State
    text: str
    finish: Finish
    input_tokens: int
    output_tokens: int
    delta_lengths: tuple[int, ...]
    error_reason: int = 0
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation; `role` is "system", "user" or "assistant"."""

    role: str
    text: str
