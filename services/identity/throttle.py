"""Counts of failed sign-ins in Redis, by user and by address; each key ends by itself.

An attempt is counted before the password is looked at and taken back when it fits, so
that many at once cannot slip through together. Keys are digests of fixed length.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from services.identity import errors

_COUNT: Final = """
local longest = 0
for i, key in ipairs(KEYS) do
    local count = redis.call('INCR', key)
    if count == 1 then redis.call('EXPIRE', key, ARGV[#KEYS + 1]) end
    if count > tonumber(ARGV[i]) then longest = math.max(longest, redis.call('TTL', key)) end
end
return longest
"""
_FORGET: Final = """
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('DECR', KEYS[2]) < 0 then redis.call('DEL', KEYS[2]) end
return 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many may fail in a window."""

    by_user: int = 10
    by_address: int = 100
    window_seconds: int = 900


class RedisThrottle:
    """The port `Throttle`. Where Redis does not answer, nobody signs in by password."""

    def __init__(self, redis: Redis, limits: Limits) -> None:
        """Count in `redis` below the prefix `identity:`."""
        self._limits = limits
        self._count: Any = redis.register_script(_COUNT)
        self._forget: Any = redis.register_script(_FORGET)

    async def admit(self, tenant: str, email: str, address: str) -> None:
        """Count an attempt.

        Raises:
            ResourceExhausted: too many of them failed.
        """
        limits = self._limits
        wait = await self._count(
            keys=_keys(tenant, email, address),
            args=[limits.by_user, limits.by_address, limits.window_seconds],
        )
        if wait > 0:
            raise errors.too_many_failures(float(wait))

    async def succeeded(self, tenant: str, email: str, address: str) -> None:
        """Take the attempt back; the user's failures are forgotten."""
        await self._forget(keys=_keys(tenant, email, address))


def _keys(tenant: str, email: str, address: str) -> list[str]:
    return [
        f"identity:failed:user:{_digest(tenant, email)}",
        f"identity:failed:address:{_digest(address)}",
    ]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
