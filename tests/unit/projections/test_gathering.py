"""Gathering: what arrives together travels together, in order, and one bad item spoils no other."""

import asyncio
from collections.abc import Sequence

import pytest

from workers.projections.gathering import Gathering


class Deliveries:
    """Takes deliveries; waits where it is told to, refuses batches that hold a bad item."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.outage: Exception | None = None

    async def __call__(self, tenant: str, items: Sequence[str]) -> None:
        self.batches.append((tenant, list(items)))
        await self.open.wait()
        if self.outage is not None:
            raise self.outage
        if any(item.startswith("bad") for item in items):
            raise ValueError(f"{[item for item in items if item.startswith('bad')]}")


def gathering(deliveries: Deliveries, most: int = 10) -> Gathering[str]:
    return Gathering(deliveries, most=most, blames_items=lambda error: isinstance(error, ValueError))


async def test_the_first_goes_at_once_and_the_rest_together_in_order() -> None:
    deliveries = Deliveries()
    deliveries.open.clear()
    gathered = gathering(deliveries, most=3)
    waiting = [asyncio.ensure_future(gathered.put("acme", f"item-{n}")) for n in range(6)]
    await asyncio.sleep(0.01)
    deliveries.open.set()
    await asyncio.gather(*waiting)
    joined = [item for _, items in deliveries.batches for item in items]
    assert joined == [f"item-{n}" for n in range(6)]
    assert max(len(items) for _, items in deliveries.batches) == 3


async def test_tenants_never_share_a_batch_nor_wait_for_each_other() -> None:
    deliveries = Deliveries()
    gathered = gathering(deliveries)
    await asyncio.gather(*(gathered.put(tenant, tenant) for tenant in ("a", "b", "a", "b")))
    assert all(set(items) == {tenant} for tenant, items in deliveries.batches)


async def test_one_bad_item_is_refused_alone() -> None:
    deliveries = Deliveries()
    deliveries.open.clear()
    gathered = gathering(deliveries)
    first = asyncio.ensure_future(gathered.put("acme", "first"))
    await asyncio.sleep(0.01)
    rest = [asyncio.ensure_future(gathered.put("acme", item)) for item in ("good", "bad", "better")]
    await asyncio.sleep(0.01)
    deliveries.open.set()
    await first
    results = await asyncio.gather(*rest, return_exceptions=True)
    assert [isinstance(result, ValueError) for result in results] == [False, True, False]


async def test_an_outage_is_told_to_all_without_a_call_for_each() -> None:
    deliveries = Deliveries()
    deliveries.outage = ConnectionError("down")
    deliveries.open.clear()
    gathered = gathering(deliveries)
    waiting = [asyncio.ensure_future(gathered.put("acme", f"{n}")) for n in range(5)]
    await asyncio.sleep(0.01)
    deliveries.open.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, ConnectionError) for result in results)
    assert len(deliveries.batches) <= 2


async def test_it_works_again_after_a_failure_and_after_a_pause() -> None:
    deliveries = Deliveries()
    gathered = gathering(deliveries)
    with pytest.raises(ValueError, match="bad"):
        await gathered.put("acme", "bad")
    await gathered.put("acme", "good")
    await asyncio.sleep(0.01)
    await gathered.put("acme", "again")
    assert deliveries.batches[-1] == ("acme", ["again"])


async def test_an_item_that_nobody_waits_for_any_more_is_left_out() -> None:
    deliveries = Deliveries()
    deliveries.open.clear()
    gathered = gathering(deliveries)
    first = asyncio.ensure_future(gathered.put("acme", "first"))
    await asyncio.sleep(0.01)
    given_up = asyncio.ensure_future(gathered.put("acme", "given up"))
    last = asyncio.ensure_future(gathered.put("acme", "last"))
    await asyncio.sleep(0.01)
    given_up.cancel()
    deliveries.open.set()
    await asyncio.gather(first, last)
    assert [items for _, items in deliveries.batches] == [["first"], ["last"]]
