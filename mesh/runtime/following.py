"""Following another service's stream: made anew whenever it breaks or falls silent, for ever."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final, TypeVar

import grpc.aio

from mesh.runtime.logging import get_logger

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_log = get_logger(__name__)
Answer = TypeVar("Answer")


class Following:
    """Reads one stream; `run` never returns."""

    def __init__(self, *, name: str, silence_seconds: float) -> None:
        """`name` is told in the log; a stream without a message for `silence_seconds` is broken."""
        self._name = name
        self._silence_seconds = silence_seconds
        self._pause = _FIRST_PAUSE
        self._told: str | None = None

    def well(self) -> None:
        """Say that what came was of use: the next break is a new one, and is tried again soon."""
        self._pause, self._told = _FIRST_PAUSE, None

    async def run(self, begin: Callable[[], Any], kind: type[Answer], take: Callable[[Answer], None]) -> None:
        """Begin the stream, hand over each message, and begin again until the task is cancelled.

        A `ValueError` of `take` says that a message may not be used; it breaks the stream.
        """
        while True:
            try:
                await self._follow(begin(), kind, take)
                cause = "the service ended the stream"
            except grpc.aio.AioRpcError as error:
                cause = f"{error.code().name}: {error.details()}"
            except TimeoutError:
                cause = f"nothing came for {self._silence_seconds:.0f} s"
            except ValueError as error:
                cause = f"refused: {error}"
            if cause != self._told:
                _log.warning(f"{self._name} stream broken", cause=cause)
                self._told = cause
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _follow(self, call: Any, kind: type[Answer], take: Callable[[Answer], None]) -> None:
        try:
            while True:
                answer = await asyncio.wait_for(call.read(), self._silence_seconds)
                if not isinstance(answer, kind):
                    return
                take(answer)
        finally:
            call.cancel()
