"""Writes an answer's events into the turn's log and gets over the loss of Redis.

After a lost connection, or a log that is gone, the turn is claimed again and
what is missing is written frame by frame as it was cut before. If somebody else
wrote meanwhile, or holds the turn, it is not ours any more.
"""

import asyncio
import contextlib
import time
from typing import Final

from mesh.runtime.logging import get_logger
from mesh.turnlog import Claimed, Leases, LogLost, LogUnavailable, LogWriter, NotMine
from workers.slm.answer import Answer

_log = get_logger(__name__)
_PATIENCE_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 0.2


class Journal:
    """The log of one turn that this worker holds."""

    def __init__(self, leases: Leases, claimed: Claimed, answer: Answer) -> None:
        """Go on where the claim found the end."""
        self._leases = leases
        self._claimed = claimed
        self._answer = answer
        self._writer = LogWriter(claimed)
        self._recovering = asyncio.Lock()
        self._written = len(answer.frames)

    @property
    def epoch(self) -> int:
        """The epoch it writes in."""
        return self._claimed.epoch

    async def write(self) -> None:
        """Send every event of the answer that was not sent yet; its place may come later.

        Raises:
            NotMine: somebody else has the turn: stop.
        """
        try:
            while self._written < len(self._answer.frames):
                self._writer.append(self._answer.frames[self._written])
                self._written += 1
            await self._writer.throttle()
        except (LogLost, LogUnavailable) as error:
            await self.recover(str(error))

    async def flush(self) -> None:
        """Return when every event of the answer stands in the log.

        Raises:
            NotMine: somebody else has the turn: stop.
        """
        while True:
            await self.write()
            try:
                await self._writer.flush()
            except (LogLost, LogUnavailable) as error:
                await self.recover(str(error))
                continue
            return

    async def recover(self, cause: str) -> None:
        """Claim the turn again; the next write sends what is missing.

        Raises:
            NotMine: somebody else has the turn, wrote in it, or Redis stayed away.
        """
        lost = self._claimed.epoch
        async with self._recovering:
            if self._claimed.epoch != lost:
                return  # another task of this turn was faster
            _log.warning("turn log lost", turn=self._claimed.key.turn_id, cause=cause)
            self._writer.abandon()
            claimed = await self._reclaim()
            there = [entry.event for entry in claimed.entries]
            ours = [*self._answer.opening, *(frame.event for frame in self._answer.frames)]
            if there != ours[: len(there)]:
                await self._leases.release(claimed.key, epoch=claimed.epoch)
                raise NotMine("somebody else wrote meanwhile")
            self._claimed = claimed
            self._writer = LogWriter(claimed)
            self._written = max(0, len(there) - len(self._answer.opening))

    async def _reclaim(self) -> Claimed:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(LogUnavailable):
                claimed = await self._leases.claim(
                    self._claimed.key, request=self._claimed.request, opening=self._answer.opening
                )
                if not isinstance(claimed, Claimed):
                    raise NotMine(f"the turn is {claimed.value}")
                return claimed
            await asyncio.sleep(_PAUSE_SECONDS)
        raise NotMine("redis stayed away")

    def abandon(self) -> None:
        """Write no more."""
        self._writer.abandon()
