"""Places that tenants share: bounded, in turn, and nobody is held up by what another one waits for."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from mesh.runtime.places import NoPlace, Places


async def settle() -> None:
    """Let everything go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def wait_for(places: Places, tenant: str, into: list[str]) -> asyncio.Task[None]:
    async def wait() -> None:
        await places.enter(tenant)
        into.append(tenant)

    return asyncio.ensure_future(wait())


async def test_tenants_are_served_by_turns() -> None:
    places, served = Places(1), list[str]()
    await places.enter("a")
    waiting = [wait_for(places, tenant, served) for tenant in "aaabbc"]
    await settle()
    assert served == []
    assert places.waiting == 6
    holder = "a"
    for _ in waiting:
        places.leave(holder)
        await settle()
        holder = served[-1]
    assert "".join(served) == "abcaba"


async def test_a_tenant_leaves_some_for_others_where_it_must() -> None:
    places, served = Places(3, each=2), list[str]()
    tasks = [wait_for(places, tenant, served) for tenant in "aaaaab"]
    await settle()
    assert "".join(served) == "aab"
    places.leave("b")
    await settle()
    assert "".join(served) == "aab"  # free, and not for a third of the same tenant
    places.leave("a")
    await settle()
    assert "".join(served) == "aaba"
    for task in tasks:
        task.cancel()


async def test_the_newest_of_whoever_waits_most_gives_way() -> None:
    places, served = Places(1, waiting=3), list[str]()
    await places.enter("a")
    crowd = [wait_for(places, "a", served) for _ in range(3)]
    await settle()
    with pytest.raises(NoPlace):
        await places.enter("a")
    newcomer = wait_for(places, "b", served)
    await settle()
    assert isinstance(crowd[2].exception(), NoPlace)
    with pytest.raises(NoPlace):  # two against one: not more than the newcomer would have
        await places.enter("b")
    places.leave("a")
    await settle()
    places.leave("a")
    await settle()
    assert served == ["a", "b"]
    assert newcomer.done()
    crowd[1].cancel()


async def test_without_room_for_waiting_there_is_a_place_or_none() -> None:
    places = Places(1, waiting=0)
    async with places.held("a"):
        with pytest.raises(NoPlace):
            await places.enter("b")
    async with places.held("b"):
        pass


async def test_one_that_goes_away_takes_nothing_with_it() -> None:
    places, served = Places(1), list[str]()
    await places.enter("a")
    gone, stays = wait_for(places, "a", served), wait_for(places, "a", served)
    await settle()
    gone.cancel()
    await settle()
    assert places.waiting == 1
    places.leave("a")
    stays.cancel()  # in the round in which it is given a place
    await settle()
    assert stays.cancelled()
    async with asyncio.timeout(1), places.held("b"):
        also = wait_for(places, "a", served)
        await settle()
        also.cancel()  # in the round in which it would be given one
    await settle()
    async with asyncio.timeout(1), places.held("b"):
        assert places.waiting == 0
    assert served == []


async def test_in_any_order_no_place_is_lost_and_no_bound_passed() -> None:
    dice = random.Random(7)
    places, inside, most = Places(4, each=3, waiting=12), Counter[str](), 0
    refused = 0

    async def visit(tenant: str) -> None:
        nonlocal most, refused
        try:
            async with places.held(tenant):
                inside[tenant] += 1
                most = max(most, inside.total())
                assert inside[tenant] <= 3
                try:
                    for _ in range(dice.randrange(4)):
                        await asyncio.sleep(0)
                finally:
                    inside[tenant] -= 1
        except NoPlace:
            refused += 1

    async def visitor() -> None:
        task = asyncio.ensure_future(visit(dice.choice("aaaabc")))
        for _ in range(dice.randrange(20)):
            await asyncio.sleep(0)
        if dice.random() < 0.3:
            task.cancel()
        await asyncio.wait((task,))

    for _ in range(200):
        await asyncio.gather(*(visitor() for _ in range(24)))
        assert places.waiting == 0
    assert most == 4
    assert refused
    async with asyncio.TaskGroup() as group:
        for tenant in "aaab":
            group.create_task(places.enter(tenant))
