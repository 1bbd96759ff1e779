"""What is told at once: cancel this turn, this turn is free to take.

A signal is a hint. Who misses one learns the same from the marks in Redis: the
cancel mark at the next claim, the free turn at the next renewal.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mesh.turnlog.connection import Connection
from mesh.turnlog.errors import LogUnavailable
from mesh.turnlog.keys import SIGNALS, TurnKey

_PAUSE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Signal:
    """A word about a turn: "cancel" or "release"."""

    word: str
    key: TurnKey


class Signals:
    """A subscription that comes back after each loss."""

    def __init__(self, url: str, heard: Callable[[Signal], None]) -> None:
        """Take who is told."""
        self._url = url
        self._heard = heard
        self.subscribed = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            with contextlib.suppress(LogUnavailable):  # whoever writes says so; the marks stay
                await self._listen()
            self.subscribed.clear()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        connection = await Connection.open(self._url, pushed=self._receive)
        try:
            connection.post("SUBSCRIBE", SIGNALS)
            await connection.wait_lost()
        finally:
            connection.close()

    def _receive(self, message: list[Any]) -> None:
        kind, _, body = message
        if kind == b"subscribe":
            self.subscribed.set()
            return
        word, _, member = body.partition(b" ")
        self._heard(Signal(word.decode(), TurnKey.of_member(member)))
