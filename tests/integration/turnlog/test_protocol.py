"""What claims, leases, queues and readers promise, on a Redis of the test's own."""

from datetime import timedelta

import pytest

from mesh.runtime.ids import new_id
from mesh.turnlog import (
    Admission,
    Claimed,
    Frame,
    Leases,
    Link,
    LogDamaged,
    LogLost,
    LogReader,
    LogUnavailable,
    LogWriter,
    NotMine,
    QueueFull,
    Refusal,
    TurnKey,
)
from tests.support.redis_server import RedisServer

OPENING = (b"accepted", b"recalled")


async def test_queue_is_bounded_and_tells_the_place(redis: RedisServer) -> None:
    queue = new_id("q")
    async with Link.open(redis.url) as link:
        admission = Admission(link, waiting_per_slot=2)
        keys = [TurnKey("t", new_id("trn")) for _ in range(7)]
        places = [await admission.admit(queue, key, slots=2) for key in keys[:6]]
        assert places == [0, 0, 0, 1, 2, 3]
        assert await admission.admit(queue, keys[5], slots=2) == 3, "a repeat changes nothing"
        with pytest.raises(QueueFull) as full:
            await admission.admit(queue, keys[6], slots=2)
        assert (full.value.waiting, full.value.bound) == (4, 4)
        await admission.leave(queue, keys[0])
        assert await admission.admit(queue, keys[6], slots=2) == 3
        assert await admission.position(queue, keys[2], slots=2) == 0
        for key in keys:
            await admission.leave(queue, key)


async def test_a_tenant_that_fills_the_queue_leaves_places_for_others(redis: RedisServer) -> None:
    queue = new_id("q")
    async with Link.open(redis.url) as link:
        admission = Admission(link, waiting_per_slot=2)

        async def take(tenant: str) -> int:
            return await admission.admit(queue, TurnKey(tenant, new_id("trn")), slots=2)

        for _ in range(6):
            await take("greedy")
        with pytest.raises(QueueFull):
            await take("greedy")
        # A tenant whose name begins with the other's is another tenant.
        assert [await take("greedy2"), await take("greedy2")] == [4, 5]
        with pytest.raises(QueueFull):
            await take("quiet")
        assert await admission.load(queue) == 8


async def test_log_of_a_turn_that_was_not_made_goes_and_one_that_was_claimed_stays(
    redis: RedisServer,
) -> None:
    made, other = TurnKey("t", new_id("trn")), TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as link:
        leases = Leases(link, owner="1")
        for key in (made, other):
            assert await leases.open_log(key, OPENING)
        assert isinstance(await leases.claim(made, request=b"r", opening=OPENING), Claimed)
        assert not await leases.discard_log(made)
        assert await leases.discard_log(other)
        assert not await leases.discard_log(other)
        assert await link.call("EXISTS", made.log, other.log) == 1
        again = await leases.claim(other, request=b"r", opening=OPENING)
        assert isinstance(again, Claimed)
        assert [entry.event for entry in again.entries] == list(OPENING)


async def test_claim_refuses_what_is_owned_done_or_unknown(redis: RedisServer) -> None:
    key = TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as link:
        one, two = Leases(link, owner="1"), Leases(link, owner="2")
        assert await one.claim(key) is Refusal.UNKNOWN
        first = await one.claim(key, request=b"r")
        assert isinstance(first, Claimed)
        assert await two.claim(key) is Refusal.OWNED
        renewal = await one.renew({key: first.epoch})
        assert (renewal.taken, renewal.gone) == ((), ())
        assert await one.release(key, epoch=first.epoch)
        second = await two.claim(key)
        assert isinstance(second, Claimed)
        assert second.epoch > first.epoch
        assert (await one.renew({key: first.epoch})).taken == (key,)
        assert not await one.finish(key, epoch=first.epoch, queue="q")
        await two.cancel(key)
        assert await two.finish(key, epoch=second.epoch, queue="q")
        assert await one.claim(key, request=b"r") is Refusal.DONE


@pytest.mark.parametrize("first", ["the row", "the worker"])
async def test_log_goes_soon_once_its_row_is_there_and_its_worker_is_done(
    redis: RedisServer, first: str
) -> None:
    key = TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as link:
        leases = Leases(link, owner="1")

        async def left() -> tuple[float, float]:
            return await link.call("TTL", key.log), await link.call("TTL", key.meta)

        claimed = await leases.claim(key, request=b"r", opening=OPENING)
        assert isinstance(claimed, Claimed)
        if first == "the row":
            await leases.stored(key)
            assert min(await left()) > 23 * 3600, "whoever takes it over finds it"
        assert await leases.finish(key, epoch=claimed.epoch, queue="q")
        if first == "the worker":
            assert 3500 < min(await left()) <= 3600, "the row may be long in coming"
            await leases.stored(key)
        log, mark = await left()
        assert (290 < log <= 300, 590 < mark <= 600) == (True, True), (log, mark)
        assert await leases.claim(key, request=b"r") is Refusal.DONE


async def test_log_that_nobody_claimed_goes_soon_once_its_row_is_there(redis: RedisServer) -> None:
    key, unknown = TurnKey("t", new_id("trn")), TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as link:
        leases = Leases(link, owner="1")
        assert await leases.open_log(key, OPENING)
        for one in (key, unknown):
            await leases.stored(one)
        assert 290 < await link.call("TTL", key.log) <= 300
        assert await link.call("EXISTS", key.meta, unknown.log, unknown.meta) == 0


async def test_cancel_before_the_claim_is_told_at_the_claim(redis: RedisServer) -> None:
    key = TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as link:
        leases = Leases(link, owner="1")
        await leases.cancel(key)
        claimed = await leases.claim(key, request=b"r")
        assert isinstance(claimed, Claimed)
        assert claimed.cancelled
        await leases.finish(key, epoch=claimed.epoch, queue="q")


async def test_readers_are_bounded(redis: RedisServer) -> None:
    async with Link.open(redis.url) as link:
        reader = LogReader(link, most=1)
        first = reader.follow(TurnKey("t", new_id("trn")), pause=0.05)
        assert await anext(first) is None
        with pytest.raises(LogUnavailable, match="bound"):
            await anext(reader.follow(TurnKey("t", new_id("trn")), pause=0.05))
        await first.aclose()
        second = reader.follow(TurnKey("t", new_id("trn")), pause=0.05)
        assert await anext(second) is None
        await second.aclose()
        reader.close()


async def test_stale_writer_is_refused_by_redis_and_told_so(redis: RedisServer) -> None:
    key = TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as here, Link.open(redis.url) as there:
        old = await Leases(here, owner="1", lease=timedelta(0)).claim(key, request=b"r", opening=OPENING)
        assert isinstance(old, Claimed)
        stale = LogWriter(old)
        stale.append(Frame(b"first", 1))
        await stale.flush()
        new = await Leases(there, owner="2").claim(key)
        assert isinstance(new, Claimed)
        assert [entry.event for entry in new.entries] == [*OPENING, b"first"]
        stale.append(Frame(b"late", 2))
        with pytest.raises(NotMine):
            await stale.flush()


async def test_writer_cannot_begin_a_log_in_the_middle(redis: RedisServer) -> None:
    key = TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as link:
        leases = Leases(link, owner="1")
        claimed = await leases.claim(key, request=b"r", opening=OPENING)
        assert isinstance(claimed, Claimed)
        writer = LogWriter(claimed)
        await link.call("DEL", key.log, key.meta)
        writer.append(Frame(b"late", 1))
        with pytest.raises(LogLost):
            await writer.flush()
        assert not await link.call("EXISTS", key.log)
        assert (await leases.renew({key: claimed.epoch})).gone == (key,)


async def test_opening_comes_once_whoever_is_first(redis: RedisServer) -> None:
    async with Link.open(redis.url) as link:
        leases, reader = Leases(link, owner="1"), LogReader(link)
        opened, claimed = TurnKey("t", new_id("trn")), TurnKey("t", new_id("trn"))
        assert await leases.open_log(opened, OPENING)
        assert not await leases.open_log(opened, OPENING)
        await leases.claim(opened, request=b"r", opening=OPENING)
        await leases.claim(claimed, request=b"r", opening=OPENING)
        assert not await leases.open_log(claimed, OPENING)
        for key in (opened, claimed):
            entries = (await reader.snapshot(key)).entries
            assert [(e.seq, e.event) for e in entries] == list(enumerate(OPENING))


async def test_log_of_another_kind_is_told_apart_from_a_redis_that_is_away(redis: RedisServer) -> None:
    key = TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as link:
        await link.call("SET", key.log, "not a stream")
        with pytest.raises(LogDamaged):
            await Leases(link, owner="1").claim(key, request=b"r")


async def test_reader_tells_of_a_log_that_was_written_anew_with_other_words(redis: RedisServer) -> None:
    key = TurnKey("t", new_id("trn"))
    async with Link.open(redis.url) as link:
        leases, reader = Leases(link, owner="1"), LogReader(link)
        for words in (b"one", b"another"):
            claimed = await leases.claim(key, request=b"r", opening=OPENING)
            assert isinstance(claimed, Claimed)
            writer = LogWriter(claimed)
            writer.append(Frame(words, 1))
            await writer.flush()
            if words == b"one":
                following = reader.follow(key, pause=0.2)
                assert await anext(following)
                await link.call("DEL", key.log, key.meta)
                await link.call("ZREM", "turnlog:leases", key.member)
        with pytest.raises(LogDamaged, match="another event"):
            await anext(following)
        reader.close()


async def test_paused_redis_is_unavailable_and_comes_back(redis: RedisServer) -> None:
    link = Link(redis.url)
    await link.ping()
    redis.kill()
    with pytest.raises(LogUnavailable):
        await link.ping()
    redis.start()
    await link.ping()
    link.close()
