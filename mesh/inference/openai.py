"""Providers that speak OpenAI's chat completions, streamed.

Wire: https://platform.openai.com/docs/api-reference/chat-streaming.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from mesh.inference import errors as failures
from mesh.inference.http import Event, ProviderHttp
from mesh.inference.ports import Chunk, GenerationRequest, Usage

_FINISH = {"stop": "stop", "length": "length", "tool_calls": "stop", "function_call": "stop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAI:
    """One account at one address (see `ports.Generator`)."""

    http: ProviderHttp
    base_url: str
    """With the version: `https://api.openai.com/v1`."""
    api_key: str = field(default="", repr=False)

    async def check(self, model: str, *, timeout_seconds: float) -> None:
        """Ask for the model's entry."""
        await self.http.get(
            f"{self._root()}/models/{model}", model=model, headers=self._headers(), timeout=timeout_seconds
        )

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Stream one answer; closing the generator closes the connection."""
        events = self.http.post_events(
            f"{self._root()}/chat/completions",
            model=request.model,
            headers=self._headers(),
            body=_body(request),
            timeout=request.timeout_seconds,
        )
        state = _Answer(request.model)
        async with contextlib.aclosing(events):
            async for event in events:
                if event.data == "[DONE]":
                    break
                chunk = state.take(event)
                if chunk is not None:
                    yield chunk
        yield state.last()

    def _root(self) -> str:
        return self.base_url.rstrip("/")

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}


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

    def take(self, event: Event) -> Chunk | None:
        message = _object(self.model, event)
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


def _object(model: str, event: Event) -> dict[str, Any]:
    try:
        return event.json()
    except ValueError as error:
        raise failures.unavailable(model, "answered outside of its contract") from error
