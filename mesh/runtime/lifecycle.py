"""How a process ends: on request, or because a background task ended by itself."""

import asyncio
from typing import Final

from mesh.runtime.logging import get_logger

_log = get_logger(__name__)
_CLOSE_SECONDS: Final = 5.0


class OwnedTaskEnded(Exception):
    """A background task that a process owns ended; its cause, if any, is `__cause__`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"background task {name} ended")
        self.name = name


class Stop:
    """The request to stop, with the failure that led to it and the grace that calls get."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._at_once = asyncio.Event()
        self._failure: OwnedTaskEnded | None = None
        self.grace: float | None = None
        """Seconds that calls in flight get, where the request said so."""

    @property
    def requested(self) -> bool:
        """Whether the process is to stop."""
        return self._event.is_set()

    def request(self, grace: float | None = None) -> None:
        """Ask the process to drain and end."""
        if grace is not None:
            self.grace = grace
        self._at_once.set()
        self._event.set()

    def hand_over(self) -> None:
        """Ask the process to end as soon as its callers have gone to its successor."""
        self._event.set()

    @property
    def handing_over(self) -> bool:
        """Whether a successor takes this process's place, and nobody is in a hurry."""
        return self.requested and not self._at_once.is_set()

    async def at_once(self, *, within: float) -> bool:
        """Wait so many seconds for a request to stop at once; True where there is one."""
        try:
            async with asyncio.timeout(within):
                await self._at_once.wait()
        except TimeoutError:
            return False
        return True

    def fail(self, failure: OwnedTaskEnded) -> None:
        """Ask the process to end with an error; the first one counts."""
        if not self.requested:
            self._failure = failure
        self._at_once.set()
        self._event.set()

    async def wait(self) -> None:
        """Wait for the request."""
        await self._event.wait()

    async def unless(self, work: "asyncio.Future[None]") -> bool:
        """Await `work`; cancel it and return False when the request comes first."""
        stopping = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return True
            work.cancel()
            await asyncio.wait((work,), timeout=_CLOSE_SECONDS)
            return False
        finally:
            stopping.cancel()

    def raise_failure(self) -> None:
        """Raise what ended the process, if it was a failure."""
        if self._failure is not None:
            raise self._failure


def guard(task: "asyncio.Task[None]", stop: Stop) -> None:
    """End the process when `task` ends by itself."""

    def ended(done: "asyncio.Task[None]") -> None:
        if done.cancelled() or stop.requested:
            return
        failure = OwnedTaskEnded(done.get_name())
        failure.__cause__ = done.exception()
        stop.fail(failure)

    task.add_done_callback(ended)


async def close_task(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for it, for a bounded time."""
    task.cancel()
    await asyncio.wait((task,), timeout=_CLOSE_SECONDS)
    if not task.done():
        _log.error("task does not end", task=task.get_name())
    elif not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("task ended with an error at stop", task=task.get_name(), exc_info=error)
