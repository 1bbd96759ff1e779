"""Requests taken from the shared counters in lots, so that a busy caller costs Redis one question for many.

A lot is counted in Redis as a whole when it is taken, and is good for a tenth of a second. Lots begin with
one request, so a quiet caller is counted one by one, and double while a caller uses them up in time, to at
most a fiftieth of the limit. Hence no second lets more than a fiftieth a replica beyond the limit through,
and near the limit, where a lot is refused, requests are again counted one by one.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from services.gateway.counters import Counted, Counters, Limit

GOOD_FOR: Final = 0.1
LARGEST_SHARE: Final = 50
_REMEMBERED: Final = 8192


@dataclass(slots=True)
class _Lot:
    """What one caller has left of what was taken for it."""

    left: int = 0
    until: float = 0.0
    size: int = 1
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Allowances:
    """Says whether a caller is within its limit."""

    def __init__(self, counters: Counters) -> None:
        """Take the counters, which all replicas share."""
        self._counters = counters
        self._lots: OrderedDict[str, _Lot] = OrderedDict()

    async def spend(self, limit: Limit, caller: str, hits: int) -> Counted:
        """Count requests of one caller.

        Raises:
            redis.exceptions.RedisError: the counters do not answer.
        """
        lot = self._lot(caller)
        if (spent := _spend(lot, hits)) is not None:
            return spent
        async with lot.taking:
            # Whoever waited finds what the one before took.
            return _spend(lot, hits) or await self._take(lot, limit, caller, hits)

    async def _take(self, lot: _Lot, limit: Limit, caller: str, hits: int) -> Counted:
        used_up = lot.left < hits and time.monotonic() < lot.until
        lot.size = lot.size * 2 if used_up else max(1, lot.size // 2)
        lot.size = min(lot.size, max(1, limit.amount // LARGEST_SHARE))
        lot.left = 0
        if lot.size > hits:
            counted = await self._counters.hit(limit, caller, lot.size)
            if counted.within:
                lot.left, lot.until = lot.size - hits, time.monotonic() + GOOD_FOR
                return counted
            lot.size = 1
        counted = await self._counters.hit(limit, caller, hits)
        # Who is beyond the limit is not worth a lot.
        lot.until = time.monotonic() + GOOD_FOR if counted.within else 0.0
        return counted

    def _lot(self, caller: str) -> _Lot:
        lot = self._lots.get(caller)
        if lot is None:
            lot = self._lots[caller] = _Lot()
            if len(self._lots) > _REMEMBERED:
                self._lots.popitem(last=False)
        return lot


def _spend(lot: _Lot, hits: int) -> Counted | None:
    left = lot.until - time.monotonic()
    if lot.left < hits or left <= 0:
        return None
    lot.left -= hits
    return Counted(True, lot.left, left)
