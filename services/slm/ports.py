"""What the domain needs of the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.slm.domain.model import Fact, Model, Request


class ModelStore(Protocol):
    """The profiles that tenants made."""

    async def model(self, tenant: str, name: str) -> Model | None:
        """Return a profile of the tenant."""
        ...

    async def models(self, tenant: str, *, after: str, size: int) -> Sequence[Model]:
        """Return profiles by name."""
        ...

    async def add(
        self, tenant: str, request: Request, model: Model, sealed_api_key: bytes | None, fact: Fact
    ) -> Model:
        """Keep a profile; a repeat of the request returns what it made.

        Raises:
            AlreadyExists: the name is taken, or the request id was used for another request.
        """
        ...

    async def delete(self, tenant: str, name: str, fact: Fact) -> bool:
        """Delete a profile with its key; False where there is none."""
        ...

    async def sealed_api_key(self, tenant: str, name: str) -> tuple[Model, bytes | None] | None:
        """Return a profile with its provider's key, sealed."""
        ...


class Seal(Protocol):
    """Seals keys."""

    def seal(self, value: bytes, *, place: str) -> bytes:
        """Return the sealed value; only the same `place` opens it."""
        ...

    def open(self, sealed: bytes, *, place: str) -> bytes:
        """Return the value."""
        ...


class Addresses(Protocol):
    """Which addresses may be a provider's."""

    def check_url(self, url: str) -> None:
        """Check what can be told without resolving the name.

        Raises:
            InvalidArgument: it is no plain http or https URL.
            PermissionDenied: its scheme or address is not permitted.
        """
        ...


class Prober(Protocol):
    """Asks providers whether a model answers."""

    async def check(self, model: Model, api_key: str) -> None:
        """Return when it answers.

        Raises:
            SomaError: why it does not.
        """
        ...


class TokenCounts(Protocol):
    """Counts tokens."""

    async def count(self, model: Model, texts: Sequence[str]) -> tuple[list[int], bool]:
        """Return the tokens of each text, and whether the model's own tokenizer counted."""
        ...
