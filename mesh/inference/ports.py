"""What a model is asked and what it answers, whatever serves it."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Dialect(enum.Enum):
    """How a Triton model wants its tensors."""

    VLLM = "vllm"
    TRTLLM = "trtllm"
    TRTLLM_LLMAPI = "trtllm_llmapi"


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a conversation; `role` is "system", "user" or "assistant"."""

    role: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample."""

    max_tokens: int
    min_tokens: int = 0
    """The answer does not end by itself before so many; vLLM's dialect alone knows it."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stream_interval_ms: int = 0
    """How long a model of ours gathers tokens before it sends them; others ignore it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One answer wanted. Triton takes `prompt`; providers take `messages`, or `prompt` as one message."""

    model: str
    """The server's own name of the model."""
    prompt: str = field(repr=False)
    sampling: Sampling
    messages: tuple[PromptMessage, ...] = ()
    dialect: Dialect = Dialect.VLLM
    timeout_seconds: float = 120.0
    """Bound on the whole answer."""

    def conversation(self) -> tuple[PromptMessage, ...]:
        """Return the messages; the prompt as the user's where there are none."""
        return self.messages or (PromptMessage("user", self.prompt),)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server counted, told once, with the last chunk."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer. The texts of all chunks, joined, are the answer."""

    text: str
    output_tokens: int
    """Tokens of this piece: the server's own count where it tells one, else one per piece."""
    finish_reason: str = ""
    """"stop" or "length" on the last chunk, and on no other."""
    usage: Usage | None = None
    """Only on the last chunk, only where the server counts; it outranks the sum of `output_tokens`."""


class Generator(Protocol):
    """Streams answers.

    Every failure is a `SomaError`: MODEL_UNAVAILABLE (no answer, or the connection broke),
    MODEL_NOT_FOUND, CONTEXT_TOO_LONG, INVALID_ARGUMENT, RATE_LIMITED, PROVIDER_REFUSED,
    DEADLINE_EXCEEDED.
    """

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the answer; the last chunk carries `finish_reason`.

        Closing the generator, or cancelling the task that reads it, ends the call at the server.
        """
        ...

    async def check(self, model: str, *, timeout_seconds: float) -> None:
        """Return when the model can answer.

        Raises:
            SomaError: why it cannot.
        """
        ...


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each text, and how many tokens of the texts the model read."""

    vectors: list[list[float]]
    input_tokens: int


class Embedder(Protocol):
    """Turns texts into vectors of unit length."""

    async def embed(
        self, texts: Sequence[str], *, model: str = "embed", timeout_seconds: float = 10.0
    ) -> list[list[float]]:
        """Return one vector for each text, in order."""
        ...
