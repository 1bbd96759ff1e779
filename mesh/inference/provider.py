"""What every provider has in common: an address, a key, a check, and an answer read from a stream of events.

A provider adds its own words: paths, headers, body, and how its events are read.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Protocol

from mesh.inference import errors as failures
from mesh.inference.http import Event, ProviderHttp
from mesh.inference.ports import Chunk, GenerationRequest


class Answer(Protocol):
    """What has come so far of one answer."""

    stopped: bool
    """Whether the provider said that nothing more comes."""

    def take(self, event: Event) -> Chunk | None:
        """Return the chunk of an event, or None where it carries no text."""
        ...

    def last(self) -> Chunk:
        """Return the chunk that ends the answer.

        Raises:
            SomaError: the answer broke off, or the provider refused to go on.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(abc.ABC):
    """One account at one address (see `ports.Generator`)."""

    http: ProviderHttp
    base_url: str
    api_key: str = field(default="", repr=False)

    async def check(self, model: str, *, timeout_seconds: float) -> None:
        """Ask for the model's entry."""
        url = self._url(f"models/{model}")
        await self.http.get(url, model=model, headers=self._headers(), timeout=timeout_seconds)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Stream one answer; closing the generator closes the connection.

        Raises:
            InvalidArgument: something is asked for that this provider cannot do.
        """
        url, body, answer = self._url(self._messages()), self._body(request), self._answer(request.model)
        events = self.http.post_events(
            url, model=request.model, headers=self._headers(), body=body, timeout=request.timeout_seconds
        )
        async with contextlib.aclosing(events):
            async for event in events:
                chunk = answer.take(event)
                if chunk is not None:
                    yield chunk
                if answer.stopped:
                    break
        yield answer.last()

    def _url(self, path: str) -> str:
        return f"{self.base_url.rstrip('/')}/{path}"

    @abc.abstractmethod
    def _headers(self) -> dict[str, str]:
        """Return how the key is shown."""

    @abc.abstractmethod
    def _messages(self) -> str:
        """Return the path that answers conversations."""

    @abc.abstractmethod
    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        """Return the request in the provider's words."""

    @abc.abstractmethod
    def _answer(self, model: str) -> Answer:
        """Return the reader of one answer."""


def message_of(model: str, event: Event) -> dict[str, Any]:
    """Read an event's JSON object.

    Raises:
        Unavailable: it is none.
    """
    try:
        return event.json()
    except ValueError as error:
        raise failures.unavailable(model, "answered outside of its contract") from error
