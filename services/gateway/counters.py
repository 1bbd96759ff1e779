"""Requests of each caller, counted in Redis by sliding windows, for all replicas alike.

What the last window's length saw is estimated from two counts: the current window's, and the part of the
one before it that is not over yet, as if its requests had come evenly (the sliding window counter). The
estimate is off by what was uneven within one window, and needs two numbers for a caller.

A window is known by its number on Redis's own clock, which stands beside its counts. It is not known by
what a key has left to live: a clock that was put back makes keys live on, and everybody would be refused
until it caught up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

_PREFIX: Final = "gateway:limits"
# KEYS: the caller's hash. ARGV: requests a window, its microseconds, how many to count.
_HIT: Final = """
local limit, length, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local number = math.floor(now / length)
local over = (now - number * length) / length
local held = redis.call('HMGET', KEYS[1], 'number', 'current', 'previous')
local known, current, previous = tonumber(held[1] or -1), tonumber(held[2] or 0), tonumber(held[3] or 0)
if known == number - 1 then
  previous, current = current, 0
elseif known ~= number then
  previous, current = 0, 0
end
local used = current + math.floor(previous * (1 - over))
local within = used + cost <= limit
if within then
  used = used + cost
  redis.call('HSET', KEYS[1], 'number', string.format('%.0f', number),
    'current', current + cost, 'previous', previous)
  redis.call('PEXPIRE', KEYS[1], math.ceil(length / 500))
end
return {within and 1 or 0, math.max(0, limit - used), math.ceil(length * (1 - over))}
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in so many seconds."""

    amount: int
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of counting.

    Attributes:
        within: they are within the limit, and counted.
        left: how many more would be.
        reset: seconds until the window ends.
    """

    within: bool
    left: int
    reset: float


class Counters:
    """The counts of all callers."""

    def __init__(self, redis: Redis) -> None:
        """Count in `redis`."""
        self._hit: Any = redis.register_script(_HIT)

    async def hit(self, limit: Limit, caller: str, cost: int) -> Counted:
        """Count requests of a caller, all of them or none.

        Raises:
            redis.exceptions.RedisError: the counters do not answer.
        """
        length = round(limit.seconds * 1e6)
        key = f"{_PREFIX}:{caller}:{limit.amount}:{length}"
        within, left, reset = await self._hit(keys=[key], args=[limit.amount, length, cost])
        return Counted(bool(within), int(left), reset / 1e6)
