"""What every verifier must know, and the news of it.

One hub a process: it holds all keys and revocations that count, and tells each
watcher first all and then what is new. A watcher that does not keep up is told all
again. The hub falls silent when it has not been in step with the store for a while:
its watchers then refuse tokens rather than trust what may be old.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.identity.domain.model import PublicKey, Revocation

HEARTBEAT_SECONDS: Final = 5.0
IN_STEP_SECONDS: Final = 20.0
_BACKLOG: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustUpdate:
    """All keys, and new revocations; all of them where `reset` is set."""

    keys: tuple[PublicKey, ...]
    revocations: tuple[Revocation, ...]
    reset: bool
    version: int


class _Watcher:
    """What one watcher has not been told yet."""

    def __init__(self) -> None:
        self.waiting: list[Revocation] = []
        self.overrun = False
        self.awake = asyncio.Event()

    def offer(self, revocations: Sequence[Revocation]) -> None:
        if len(self.waiting) + len(revocations) > _BACKLOG:
            self.overrun = True
            self.waiting.clear()
        else:
            self.waiting.extend(revocations)
        self.awake.set()


class TrustHub:
    """Keys and revocations of this process, and who watches them."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        """Start with nothing and nobody."""
        self._monotonic = monotonic
        self._keys: tuple[PublicKey, ...] = ()
        self._revoked: dict[str, Revocation] = {}
        self._version = 0
        self._in_step_until = float("-inf")
        self._watchers: set[_Watcher] = set()

    @property
    def in_step(self) -> bool:
        """Whether the store was read not long ago."""
        return self._monotonic() <= self._in_step_until

    def take(
        self, *, keys: Iterable[PublicKey], revocations: Iterable[Revocation], version: int, now: datetime
    ) -> None:
        """Take what the store says: all keys, and revocations among which new ones are told on."""
        current = tuple(sorted(keys, key=lambda key: key.kid))
        new = [each for each in revocations if each.token_id not in self._revoked]
        self._revoked = {token: each for token, each in self._revoked.items() if each.expire_time > now} | {
            each.token_id: each for each in new
        }
        changed = current != self._keys
        self._keys = current
        self._version = max(self._version, version)
        was_in_step = self.in_step
        self._in_step_until = self._monotonic() + IN_STEP_SECONDS
        if new or changed or not was_in_step:
            for watcher in self._watchers:
                watcher.offer(new)

    def everything(self) -> TrustUpdate:
        """Return all that is known."""
        return self._update(tuple(self._revoked.values()), reset=True)

    async def watch(
        self, *, heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> AsyncGenerator[TrustUpdate, None]:
        """Yield all at first, then each change, and at least one update in `heartbeat_seconds`.

        Yields nothing while the hub is out of step.
        """
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            told_all = False
            while True:
                if self.in_step:
                    yield self._next(watcher, told_all=told_all)
                    told_all = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(watcher.awake.wait(), heartbeat_seconds)
        finally:
            self._watchers.discard(watcher)

    def _next(self, watcher: _Watcher, *, told_all: bool) -> TrustUpdate:
        new, whole = tuple(watcher.waiting), watcher.overrun or not told_all
        watcher.waiting.clear()
        watcher.overrun = False
        watcher.awake.clear()
        return self.everything() if whole else self._update(new, reset=False)

    def _update(self, revocations: tuple[Revocation, ...], *, reset: bool) -> TrustUpdate:
        return TrustUpdate(keys=self._keys, revocations=revocations, reset=reset, version=self._version)
