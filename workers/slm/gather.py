"""Gathers the pieces of a foreign backend into frames: the first at once, then one an interval.

Our own models gather at the source (`stream_interval_ms`), which is cheaper for
everybody: a response a token is the main cost of the road.
"""

import asyncio
from collections.abc import Awaitable, Callable

Emit = Callable[[str, int], Awaitable[None]]


class Gatherer:
    """Calls `emit(text, tokens)`; in order, never twice at once."""

    def __init__(self, emit: Emit, *, interval: float) -> None:
        """Gather for `interval` seconds; 0 passes every piece through."""
        self._emit = emit
        self._interval = interval
        self._text: list[str] = []
        self._tokens = 0
        self._last = float("-inf")

    def wait(self) -> float | None:
        """Return the seconds after which `flush` is due; None where nothing is held."""
        if not self._text and not self._tokens:
            return None
        return max(0.0, self._last + self._interval - asyncio.get_running_loop().time())

    async def add(self, text: str, tokens: int) -> None:
        """Take a piece."""
        self._text.append(text)
        self._tokens += tokens
        if asyncio.get_running_loop().time() - self._last >= self._interval:
            await self.flush()

    async def flush(self) -> None:
        """Emit what is held."""
        if not self._text and not self._tokens:
            return
        text, tokens = "".join(self._text), self._tokens
        self._text.clear()
        self._tokens = 0
        self._last = asyncio.get_running_loop().time()
        await self._emit(text, tokens)
