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

from limits import RateLimitItem
from limits.aio.strategies import RateLimiter

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

    def __init__(self, limiter: RateLimiter) -> None:
        """Take the limiter, whose counters all replicas share."""
        self._limiter = limiter
        self._lots: OrderedDict[tuple[str, ...], _Lot] = OrderedDict()

    async def spend(self, limit: RateLimitItem, keys: tuple[str, ...], hits: int) -> bool:
        """Count requests of one caller; False where they are beyond the limit, and then not counted.

        Raises:
            limits.errors.StorageError, redis.exceptions.RedisError: the counters do not answer.
        """
        lot = self._lot(keys)
        if _spend(lot, hits):
            return True
        async with lot.taking:
            # Whoever waited finds what the one before took.
            return _spend(lot, hits) or await self._take(lot, limit, keys, hits)

    async def _take(self, lot: _Lot, limit: RateLimitItem, keys: tuple[str, ...], hits: int) -> bool:
        used_up = lot.left < hits and time.monotonic() < lot.until
        lot.size = lot.size * 2 if used_up else max(1, lot.size // 2)
        lot.size = min(lot.size, max(1, limit.amount // LARGEST_SHARE))
        lot.left = 0
        if lot.size > hits and await self._limiter.hit(limit, *keys, cost=lot.size):
            lot.left, lot.until = lot.size - hits, time.monotonic() + GOOD_FOR
            return True
        if lot.size > hits:
            lot.size = 1
        within = await self._limiter.hit(limit, *keys, cost=hits)
        # Who is beyond the limit is not worth a lot.
        lot.until = time.monotonic() + GOOD_FOR if within else 0.0
        return within

    def _lot(self, keys: tuple[str, ...]) -> _Lot:
        lot = self._lots.get(keys)
        if lot is None:
            lot = self._lots[keys] = _Lot()
            if len(self._lots) > _REMEMBERED:
                self._lots.popitem(last=False)
        return lot


def _spend(lot: _Lot, hits: int) -> bool:
    if lot.left < hits or time.monotonic() >= lot.until:
        return False
    lot.left -= hits
    return True
