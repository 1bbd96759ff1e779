"""Lots of requests against counters in a real Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.gateway.allowances import GOOD_FOR, LARGEST_SHARE, Allowances
from services.gateway.counters import Counters, Limit
from services.gateway.wiring import connected
from tests.support.redis_server import RedisServer

CALLER = "tenant=tnt_a"
AGES = 1000.0  # seconds: longer than a test


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path)
    running.start()
    yield running
    running.kill()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with connected(server.url) as connection:
        yield connection


@pytest.fixture
def counters(redis: Redis) -> Counters:
    return Counters(redis)


async def test_never_more_than_the_limit_and_all_but_a_few_of_it(counters: Counters) -> None:
    limit = Limit(500, AGES)
    replicas = [Allowances(counters), Allowances(counters)]
    asked = [each.spend(limit, CALLER, 1) for _ in range(400) for each in replicas]
    passed = sum(one.within for one in await asyncio.gather(*asked))
    assert 250 <= passed <= 500  # a slow machine lets some lots expire


async def test_a_small_limit_is_counted_one_by_one(counters: Counters) -> None:
    limit = Limit(7, AGES)
    allowances = Allowances(counters)
    asked = [await allowances.spend(limit, CALLER, 1) for _ in range(9)]
    assert [one.within for one in asked] == [True] * 7 + [False] * 2
    assert 0 < asked[-1].reset <= AGES
    assert (await allowances.spend(limit, "tenant=tnt_b", 1)).within


async def test_a_busy_caller_asks_redis_seldom_and_a_quiet_one_each_time(counters: Counters) -> None:
    limit = Limit(1_000_000, AGES)
    allowances = Allowances(counters)

    async def counted() -> int:
        return limit.amount - (await counters.hit(limit, CALLER, 0)).left

    for _ in range(3):
        assert (await allowances.spend(limit, CALLER, 1)).within
        await asyncio.sleep(2 * GOOD_FOR)
    assert await counted() == 3
    used = 3
    while await counted() == used:  # until something is counted ahead of its use
        assert (await allowances.spend(limit, CALLER, 1)).within
        assert (await allowances.spend(limit, CALLER, 1)).within
        used += 2
    assert await counted() - used < limit.amount // LARGEST_SHARE


async def test_without_redis_nobody_is_let_through(server: RedisServer, counters: Counters) -> None:
    allowances = Allowances(counters)
    limit = Limit(7, AGES)
    assert (await allowances.spend(limit, CALLER, 1)).within
    server.kill()
    with pytest.raises(RedisError):
        await allowances.spend(limit, CALLER, 1)


async def test_a_window_gives_way_to_the_next_one_little_by_little(counters: Counters) -> None:
    limit = Limit(100, 1.0)
    begun = time.monotonic()
    while (await counters.hit(limit, CALLER, 1)).within:
        pass
    passed = 0
    while time.monotonic() < begun + 3:
        passed += (await counters.hit(limit, CALLER, 1)).within
        await asyncio.sleep(0.002)
    assert 150 <= passed <= 400  # 100 a second over three seconds, give or take the first and last window


async def test_a_clock_that_was_put_back_or_forth_refuses_nobody(counters: Counters, redis: Redis) -> None:
    limit = Limit(3, AGES)
    seconds, _ = await redis.time()
    await counters.hit(limit, CALLER, 3)
    (key,) = await redis.keys("*")
    for wrong in (-1, 1):
        assert not (await counters.hit(limit, CALLER, 1)).within
        # What Redis holds once its clock is right again, and was off by some windows before.
        await redis.hset(key, "number", str(int((seconds / AGES) + wrong * 5)))
        await redis.persist(key)
        assert (await counters.hit(limit, CALLER, 3)).within
    assert await redis.pttl(key) <= 2 * AGES * 1000


async def test_what_is_refused_is_not_counted_and_all_is_counted_or_none(counters: Counters) -> None:
    limit = Limit(10, AGES)
    assert (await counters.hit(limit, CALLER, 8)).left == 2
    assert not (await counters.hit(limit, CALLER, 3)).within
    assert (await counters.hit(limit, CALLER, 2)).left == 0
