"""What the turn log wrote as its own Redis user is there after Redis was killed."""

import asyncio
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
    LogReader,
    LogWriter,
    Standing,
    TurnKey,
)
from tests.support.stack import Stack

FSYNC_SECONDS = 1.5


def url(stack: Stack, user: str) -> str:
    password = (stack.home / "secrets" / f"redis-{user}").read_text().strip()
    return f"redis://{user}:{password}@127.0.0.1:{stack.settings.ports.of('redis')}/0"


async def test_claims_and_places_survive_a_kill(stack: Stack) -> None:
    done, held, queue = TurnKey("t", new_id("trn")), TurnKey("t", new_id("trn")), new_id("q")
    async with Link.open(url(stack, "worker-slm")) as link:
        leases, admission = Leases(link, owner="a", lease=timedelta(minutes=1)), Admission(link)
        for key in (done, held):
            await admission.admit(queue, key, slots=1)
            claimed = await leases.claim(key, request=b"request", opening=(b"accepted",))
            assert isinstance(claimed, Claimed)
            writer = LogWriter(claimed)
            writer.append(Frame(b"word", 1, last=key is done))
            await writer.flush()
            if key is done:
                assert await leases.finish(key, epoch=claimed.epoch, queue=queue)
        await asyncio.sleep(FSYNC_SECONDS)
        await stack.kill("redis")
        await stack.ready()
        assert await leases.standing(done) is Standing.DONE
        assert await leases.standing(held) is Standing.LEASED
        assert await admission.load(queue) == 1
        events = [entry.event for entry in (await LogReader(link).snapshot(held)).entries]
        assert events == [b"accepted", b"word"]
        again = await leases.claim(held)
        assert isinstance(again, Claimed)
        assert (again.request, again.next_seq) == (b"request", 2)
        await leases.finish(held, epoch=again.epoch, queue=queue)


async def test_users_reach_the_turn_log_and_nothing_else(stack: Stack) -> None:
    async with Link.open(url(stack, "orchestrator")) as link:
        assert await Leases(link, owner="o").open_log(TurnKey("t", new_id("trn")), (b"accepted",))
        with pytest.raises(LogDamaged):
            await link.call("SET", "gateway:limits", "0")
    async with Link.open(url(stack, "gateway")) as link:
        with pytest.raises(LogDamaged):
            await link.call("XRANGE", "turnlog:t:trn", "-", "+")
