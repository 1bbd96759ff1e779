"""What a generation hands out, and to whom; free of the runtime, so that other answerers can use it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from models.engine.errors import EngineError

Finish = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True)
class Delta:
    """Text made since the last delta, from how many tokens, and why it ended where it did."""

    text: str
    tokens: int
    finish: Finish | None


class Sink(Protocol):
    """Where one request's results go. Methods are called from the stepping thread and must not block."""

    def delta(self, delta: Delta) -> None:
        """Take the next delta; one with `Delta.finish` is the last call."""

    def fail(self, error: EngineError) -> None:
        """Take the failure; it is the last call."""

    def ask(self, gone: Callable[[], None]) -> None:
        """Find out whether nobody waits for the result any more, and call `gone` if so, from any thread."""

    def drop(self) -> None:
        """The request was cancelled; it is the last call."""
