"""Anthropic's messages, streamed. Wire: https://docs.anthropic.com/en/api/messages-streaming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mesh.inference import errors as failures
from mesh.inference.http import Event
from mesh.inference.ports import Chunk, GenerationRequest, Usage
from mesh.inference.provider import Answer, Provider, message_of
from mesh.runtime.errors import InvalidArgument

VERSION: Final = "2023-06-01"
_FINISH: Final = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "stop"}
_UNAVAILABLE: Final = frozenset({"overloaded_error", "api_error"})


class Anthropic(Provider):
    """`base_url` is without the version: `https://api.anthropic.com`.

    A seed is refused: this provider cannot repeat its sampling.
    """

    __slots__ = ()

    def _url(self, path: str) -> str:
        return super()._url(f"v1/{path}")

    def _headers(self) -> dict[str, str]:
        return {"x-api-key": self.api_key, "anthropic-version": VERSION}

    def _messages(self) -> str:
        return "messages"

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        return _body(request)

    def _answer(self, model: str) -> Answer:
        return _Answer(model)


def _body(request: GenerationRequest) -> dict[str, Any]:
    sampling = request.sampling
    if sampling.seed is not None:
        raise InvalidArgument(
            "INVALID_ARGUMENT", f"model {request.model} cannot repeat its sampling: leave sampling.seed out"
        )
    parts = request.conversation()
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": part.role, "content": part.text} for part in parts if part.role != "system"],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "stream": True,
    }
    system = "\n\n".join(part.text for part in parts if part.role == "system")
    if system:
        body["system"] = system
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop_sequences"] = list(sampling.stop)
    return body


@dataclass(slots=True)
class _Answer:
    """What has come so far."""

    model: str
    reason: str = ""
    taken: int = 0
    produced: int = 0
    stopped: bool = False

    def take(self, event: Event) -> Chunk | None:
        message = message_of(self.model, event)
        kind = message.get("type")
        if kind == "content_block_delta":
            text = message.get("delta", {}).get("text", "")
            return Chunk(text, 1) if text else None
        if kind == "message_start":
            self.taken = int(message.get("message", {}).get("usage", {}).get("input_tokens", 0))
        elif kind == "message_delta":
            self.reason = message.get("delta", {}).get("stop_reason") or self.reason
            self.produced = int(message.get("usage", {}).get("output_tokens", self.produced))
        elif kind == "message_stop":
            self.stopped = True
        elif kind == "error":
            raise self._failed(message.get("error", {}))
        return None

    def last(self) -> Chunk:
        if not self.stopped or not self.reason:
            raise failures.unavailable(self.model, "broke off before its end")
        if self.reason not in _FINISH:
            raise failures.refused(self.model, self.reason)
        return Chunk("", 0, _FINISH[self.reason], Usage(self.taken, self.produced))

    def _failed(self, error: dict[str, Any]) -> Exception:
        kind = str(error.get("type", ""))
        if kind == "rate_limit_error":
            return failures.rate_limited(self.model, None)
        if kind in _UNAVAILABLE:
            return failures.unavailable(self.model, "does not answer: its provider is overloaded")
        return failures.from_text(self.model, str(error.get("message", "")))
