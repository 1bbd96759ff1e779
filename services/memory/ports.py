"""What memory asks of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Turns texts into vectors of unit length."""

    async def embed(
        self, texts: Sequence[str], *, model: str = "embed", timeout_seconds: float = 10.0
    ) -> list[list[float]]:
        """Return one vector for each text, in order."""
        ...
