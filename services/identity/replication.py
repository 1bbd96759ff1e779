"""Keeps this process in step with the store's keys and revocations, and the store with time.

Wakes at the news of a change (LISTEN), and every few seconds in case the news was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from mesh.runtime.errors import ConfigurationError
from mesh.runtime.logging import get_logger
from services.identity.domain.keys import KeyRotation
from services.identity.domain.trust import TrustHub
from services.identity.signing import KeyRing
from services.identity.store.trust import Trust

_LOOK_EVERY: Final = 5.0
_OVERLAP: Final = timedelta(seconds=60)
"""Longer than any transaction lives: what was revoked in one that commits late is seen, too."""
_SWEEP_EVERY: Final = timedelta(minutes=10)
_log = get_logger(__name__)


class Replication:
    """Feeds the hub and the ring."""

    def __init__(
        self,
        *,
        store: Trust,
        rotation: KeyRotation,
        hub: TrustHub,
        ring: KeyRing,
        now: Callable[[], datetime],
    ) -> None:
        """Take what is fed and from where."""
        self._store = store
        self._rotation = rotation
        self._hub = hub
        self._ring = ring
        self._now = now
        self._since: datetime | None = None
        self._swept = now()
        self._told: str | None = None

    async def refresh(self) -> None:
        """Read keys and revocations once; the first reading makes the first key."""
        now = self._now()
        keys = await self._rotation.ensure()
        revocations, version = await self._store.revocations(since=self._since, now=now)
        self._ring.take(keys)
        self._hub.take(keys=[key.public() for key in keys], revocations=revocations, version=version, now=now)
        self._since = now - _OVERLAP
        if now - self._swept > _SWEEP_EVERY:
            self._swept = now
            await self._store.sweep()

    async def run(self) -> None:
        """Stay in step until the task is cancelled.

        Raises:
            ConfigurationError: a key cannot be opened with this process's key-encryption key.
        """
        while True:
            try:
                await self._follow()
            except ConfigurationError:
                raise
            except Exception as error:  # noqa: BLE001  whatever the store's driver raises: try again
                cause = f"{type(error).__name__}: {error}"
            if cause != self._told:
                _log.warning("out of step with the store", cause=cause)
                self._told = cause
            await asyncio.sleep(0.5)

    async def _follow(self) -> None:
        async with self._store.listening() as news:
            self._since = None
            while True:
                await self.refresh()
                self._told = None
                await news.wait(_LOOK_EVERY)
