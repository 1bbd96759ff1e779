"""Writing a log: entries of one epoch, sent without waiting, checked behind."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import hiredis

from mesh.turnlog.errors import LogLost, LogUnavailable, NotMine
from mesh.turnlog.keys import TurnKey
from mesh.turnlog.leases import Claimed
from mesh.turnlog.link import Link

_ANSWER_SECONDS: Final = 5.0
_MOST_UNDER_WAY: Final = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """An event to write: its bytes, the tokens made up to it, and whether it is the last."""

    event: bytes
    tokens: int = 0
    last: bool = False


class LogWriter:
    """Writes the entries of one claim."""

    def __init__(self, claimed: Claimed) -> None:
        """Start where the claim found the end."""
        self._key: TurnKey = claimed.key
        self._connection = claimed.connection
        self._epoch = claimed.epoch
        self.next_seq = claimed.next_seq
        self._under_way: deque[asyncio.Future[Any]] = deque()

    def append(self, frame: Frame) -> int:
        """Send an entry and return its seq; whether it was taken shows at `check` or `flush`.

        Raises:
            NotMine, LogLost, LogUnavailable: an earlier entry was not taken.
        """
        self.check()
        seq = self.next_seq
        tail: Sequence[str | bytes | int] = ("k", 1) if frame.last else ()
        self._under_way.append(
            self._connection.send(
                *("XADD", self._key.log, "NOMKSTREAM", f"{self._epoch}-{seq + 1}"),
                *("e", frame.event, "n", frame.tokens, *tail),
            )
        )
        self.next_seq = seq + 1
        return seq

    def check(self) -> None:
        """Look at the answers that have come.

        Raises:
            NotMine: an entry was refused.
            LogLost: the log is gone.
            LogUnavailable: the connection was lost.
        """
        while self._under_way and self._under_way[0].done():
            self._settle(self._under_way.popleft())

    async def flush(self, *, down_to: int = 0) -> None:
        """Wait until at most `down_to` entries are without their answer; raises like `check`."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while len(self._under_way) > down_to:
                    await asyncio.wait([self._under_way[0]])
                    self.check()
        except TimeoutError as error:
            self._connection.close()
            raise LogUnavailable("redis does not answer") from error

    async def throttle(self) -> None:
        """Wait while too many entries are without their answer."""
        if len(self._under_way) >= _MOST_UNDER_WAY:
            await self.flush(down_to=_MOST_UNDER_WAY // 2)

    def abandon(self) -> None:
        """Forget the answers that are still to come: the epoch is given up."""
        while self._under_way:
            answer = self._under_way.popleft()
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # looked at, so that asyncio does not report it

    @staticmethod
    def _settle(answer: asyncio.Future[Any]) -> None:
        try:
            reply = answer.result()
        except hiredis.ReplyError as error:
            # A smaller or equal id: the fence of a later epoch stands above it.
            if "smaller" in str(error):
                raise NotMine(str(error)) from error
            raise Link.explain(error) from error
        if reply is None:
            raise LogLost("the log is gone")
