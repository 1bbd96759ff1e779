"""Providers that speak OpenAI's chat completions, streamed.

Wire: https://platform.openai.com/docs/api-reference/chat-streaming.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mesh.inference import errors as failures
from mesh.inference.http import Event
from mesh.inference.ports import Chunk, GenerationRequest, Usage
from mesh.inference.provider import Answer, Provider, message_of

_FINISH = {"stop": "stop", "length": "length", "tool_calls": "stop", "function_call": "stop"}


class OpenAI(Provider):
    """`base_url` is with the version: `https://api.openai.com/v1`."""

    __slots__ = ()

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def _messages(self) -> str:
        return "chat/completions"

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        return _body(request)

    def _answer(self, model: str) -> Answer:
        return _Answer(model)


def _body(request: GenerationRequest) -> dict[str, Any]:
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": part.role, "content": part.text} for part in request.conversation()],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body


@dataclass(slots=True)
class _Answer:
    """What has come so far. Usage arrives after the finish reason, so the end is told at the end."""

    model: str
    reason: str = ""
    usage: Usage | None = None
    stopped: bool = False

    def take(self, event: Event) -> Chunk | None:
        if event.data == "[DONE]":
            self.stopped = True
            return None
        message = message_of(self.model, event)
        if "error" in message:
            raise failures.from_text(self.model, str(message["error"]))
        usage = message.get("usage")
        if isinstance(usage, dict):
            self.usage = Usage(int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0)))
        choice: dict[str, Any] = next(iter(message.get("choices") or ()), {})
        self.reason = choice.get("finish_reason") or self.reason
        text = (choice.get("delta") or {}).get("content") or ""
        return Chunk(text, 1) if text else None

    def last(self) -> Chunk:
        if not self.reason:
            raise failures.unavailable(self.model, "broke off before its end")
        if self.reason not in _FINISH:
            raise failures.refused(self.model, self.reason)
        return Chunk("", 0, _FINISH[self.reason], self.usage)
