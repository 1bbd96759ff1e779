"""Lots of requests against counters in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from limits import RateLimitItemPerMinute
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from services.gateway.allowances import GOOD_FOR, LARGEST_SHARE, Allowances
from services.gateway.wiring import counters
from tests.support.redis_server import RedisServer

CALLER = ("tenant=tnt_a",)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def limiter(redis: RedisServer) -> AsyncIterator[SlidingWindowCounterRateLimiter]:
    async with counters(redis.url) as storage:
        yield SlidingWindowCounterRateLimiter(storage)


async def test_never_more_than_the_limit_and_all_but_a_few_of_it(
    limiter: SlidingWindowCounterRateLimiter,
) -> None:
    limit = RateLimitItemPerMinute(500)
    replicas = [Allowances(limiter), Allowances(limiter)]
    asked = [each.spend(limit, CALLER, 1) for _ in range(400) for each in replicas]
    passed = sum(await asyncio.gather(*asked))
    assert 250 <= passed <= 500  # a slow machine lets some lots expire


async def test_a_small_limit_is_counted_one_by_one(limiter: SlidingWindowCounterRateLimiter) -> None:
    limit = RateLimitItemPerMinute(7)
    allowances = Allowances(limiter)
    assert [await allowances.spend(limit, CALLER, 1) for _ in range(9)] == [True] * 7 + [False] * 2
    assert await allowances.spend(limit, ("tenant=tnt_b",), 1)


async def test_a_busy_caller_asks_redis_seldom_and_a_quiet_one_each_time(
    limiter: SlidingWindowCounterRateLimiter,
) -> None:
    limit = RateLimitItemPerMinute(1_000_000)
    allowances = Allowances(limiter)

    async def counted() -> int:
        return limit.amount - (await limiter.get_window_stats(limit, *CALLER)).remaining

    for _ in range(3):
        assert await allowances.spend(limit, CALLER, 1)
        await asyncio.sleep(2 * GOOD_FOR)
    assert await counted() == 3
    used = 3
    while await counted() == used:  # until something is counted ahead of its use
        assert await allowances.spend(limit, CALLER, 1)
        assert await allowances.spend(limit, CALLER, 1)
        used += 2
    assert await counted() - used < limit.amount // LARGEST_SHARE


async def test_without_redis_nobody_is_let_through(
    redis: RedisServer, limiter: SlidingWindowCounterRateLimiter
) -> None:
    allowances = Allowances(limiter)
    limit = RateLimitItemPerMinute(7)
    assert await allowances.spend(limit, CALLER, 1)
    redis.kill()
    with pytest.raises(RedisError):
        await allowances.spend(limit, CALLER, 1)
