"""Work that outlives the call that began it, with an owner that awaits it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

_AT_STOP_SECONDS: Final = 5.0


class Background:
    """A set of tasks; leaving it waits for them, for a bounded time."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["Background"]:
        """Own tasks for the length of a block."""
        background = cls()
        try:
            yield background
        finally:
            if background._tasks:
                await asyncio.wait(background._tasks, timeout=_AT_STOP_SECONDS)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work`, which handles its own failures."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
