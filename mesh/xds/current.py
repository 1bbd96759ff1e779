"""The current world, and who waits for the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mesh.runtime.logging import get_logger
from mesh.xds.world import World, build_world, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesh.envoy.snapshot import Snapshot
    from mesh.xds.encoding import Encoder

_log = get_logger(__name__)
# Several changes within this time are one change: a start of seven services, a burst of revocations.
_GATHER_SECONDS = 0.05


class Current:
    """Rebuilds the world when something it is made of says so."""

    def __init__(self, snapshot: Callable[[], Snapshot], encoder: Encoder) -> None:
        self._snapshot = snapshot
        self._encoder = encoder
        self._dirty = asyncio.Event()
        self._changed = asyncio.Event()
        self.snapshot = snapshot()
        self.world: World = build_world(self.snapshot, self._encoder)

    def touch(self) -> None:
        """Say that something changed."""
        self._dirty.set()

    async def keep(self) -> None:
        """Rebuild after each change, for ever."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._dirty.clear()
            snapshot = self._snapshot()
            if snapshot == self.snapshot:
                continue
            before = self.world
            self.world, self.snapshot = build_world(snapshot, self._encoder), snapshot
            kinds = [kind for kind in self.world.versions if self.world.version(kind) != before.version(kind)]
            if kinds:
                _log.info("world changed", types=[short(kind) for kind in kinds])
                event, self._changed = self._changed, asyncio.Event()
                event.set()

    async def changed_from(self, world: World) -> World:
        """Wait until the world is another than this one."""
        while self.world is world:
            await self._changed.wait()
        return self.world
