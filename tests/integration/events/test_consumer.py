"""Consumers on a real broker: order, effects before offsets, poison, outages, rebalances."""

import asyncio
from collections import defaultdict

from mesh.runtime.context import current
from mesh.runtime.errors import Unavailable
from tests.support.events import Note, consuming, dead_letters, new_tenant, notes, opened_bus, until
from tests.support.servers import Servers

AS_LARGE_AS_THE_BROKER_TAKES = 1024 * 1024 - 300


class Seen:
    """A handler that remembers; records of other tests are none of its business."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.records: list[Note] = []
        self.by_key: dict[str, list[int]] = defaultdict(list)
        self.contexts: list[tuple[str, str, str]] = []

    async def __call__(self, record: Note) -> None:
        if record.tenant != self.tenant:
            return
        await self.work(record)
        call = current()
        self.contexts.append((call.tenant, call.request_id, call.trace.trace_id))
        self.records.append(record)
        self.by_key[record.key].append(int(record.message.id))

    async def work(self, record: Note) -> None:
        """What the effect takes."""

    @property
    def numbers(self) -> list[int]:
        return [int(record.message.id) for record in self.records]


async def publish(servers: Servers, records: list[Note]) -> None:
    async with opened_bus(servers) as (bus, _):
        await asyncio.gather(*(bus.publish(record) for record in records))


async def test_records_of_a_key_keep_their_order_and_others_run_beside(servers: Servers) -> None:
    class Slow(Seen):
        running = 0
        most = 0

        async def work(self, record: Note) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.002 * (1 + int(record.message.id) % 3))
            self.running -= 1

    tenant = new_tenant()
    seen = Slow(tenant)
    await publish(servers, notes(tenant, 200, keys=6))
    async with consuming(servers, seen, group=tenant, max_in_flight=10):
        await until(lambda: len(seen.records) >= 200)
    assert sorted(seen.numbers) == list(range(200))
    for numbers in seen.by_key.values():
        assert numbers == sorted(numbers)
    assert 1 < seen.most <= 6
    assert {tenant for tenant, _, _ in seen.contexts} == {tenant}


async def test_a_handler_that_did_not_end_sees_its_record_again(servers: Servers) -> None:
    tenant = new_tenant()
    begun: list[int] = []
    stuck = asyncio.Event()

    async def never(record: Note) -> None:
        if record.tenant == tenant:
            begun.append(int(record.message.id))
            stuck.set()
            await asyncio.sleep(3600)

    await publish(servers, notes(tenant, 5, keys=5))
    async with consuming(servers, never, group=tenant):
        await asyncio.wait_for(stuck.wait(), 20)
    seen = Seen(tenant)
    async with consuming(servers, seen, group=tenant):
        await until(lambda: len(seen.records) >= 5)
    assert sorted(seen.numbers) == list(range(5))


async def test_what_is_done_is_not_seen_again(servers: Servers) -> None:
    tenant = new_tenant()
    first, second = Seen(tenant), Seen(tenant)
    await publish(servers, notes(tenant, 20))
    async with consuming(servers, first, group=tenant):
        await until(lambda: len(first.records) >= 20)
    await publish(servers, notes(tenant, 1))
    async with consuming(servers, second, group=tenant):
        await until(lambda: len(second.records) >= 1)
    assert second.numbers == [0]


async def test_poison_is_buried_and_takes_no_bystander_with_it(servers: Servers) -> None:
    class Poisoned(Seen):
        async def work(self, record: Note) -> None:
            if int(record.message.id) % 7 == 0:
                raise ValueError("U+0000 at postgresql://memory:s3cret@host/soma")

    tenant = new_tenant()
    seen = Poisoned(tenant)
    await publish(servers, notes(tenant, 70, keys=3))
    async with consuming(servers, seen, group=tenant):
        await until(lambda: len(seen.records) >= 60)
        buried = await dead_letters(servers, tenant, 10)
    assert sorted(seen.numbers) == [number for number in range(70) if number % 7]
    for letter in buried:
        assert letter["soma-dlq-reason"].startswith("INTERNAL: ValueError: U+0000")
        assert "s3cret" not in letter["soma-dlq-reason"]
        assert letter["soma-dlq-attempts"] == "3"
        assert letter["soma-dlq-origin"].startswith("memory.events/")
    again = Seen(tenant)
    await publish(servers, notes(tenant, 1))
    async with consuming(servers, again, group=tenant):
        await until(lambda: len(again.records) >= 1)
    assert len(again.records) == 1


async def test_poison_that_is_too_large_for_a_letter_is_buried_without_its_content(servers: Servers) -> None:
    class Poisoned(Seen):
        async def work(self, record: Note) -> None:
            if record.message.HasField("remembered"):
                raise ValueError("unfit " * 100)

    tenant = new_tenant()
    seen = Poisoned(tenant)
    large, *others = notes(tenant, 5, keys=1)
    large.message.remembered.text = "x" * (AS_LARGE_AS_THE_BROKER_TAKES - 20)
    await publish(servers, [large])
    await publish(servers, others)
    async with consuming(servers, seen, group=tenant):
        await until(lambda: len(seen.records) >= len(others))
        (letter,) = await dead_letters(servers, tenant, 1)
    assert letter["soma-dlq-reason"].startswith("INTERNAL: ValueError: unfit")
    assert letter["soma-record-id"] == large.id
    assert int(letter["soma-dlq-abridged"]) == large.message.ByteSize()


async def test_while_a_dependency_is_down_records_wait(servers: Servers) -> None:
    class Down(Seen):
        until_up = 12

        async def work(self, record: Note) -> None:
            if self.until_up:
                self.until_up -= 1
                raise Unavailable("DEPENDENCY_UNAVAILABLE", "the database is down")

    tenant = new_tenant()
    seen = Down(tenant)
    await publish(servers, notes(tenant, 4, keys=4))
    async with consuming(servers, seen, group=tenant, attempts=2):
        await until(lambda: len(seen.records) >= 4)
    assert sorted(seen.numbers) == [0, 1, 2, 3]


async def test_members_come_and_go_and_no_record_is_missed(servers: Servers) -> None:
    class Slow(Seen):
        async def work(self, record: Note) -> None:
            await asyncio.sleep(0.01)

    tenant = new_tenant()
    one, two = Slow(tenant), Slow(tenant)
    records = notes(tenant, 300, keys=40)
    async with consuming(servers, one, group=tenant, max_in_flight=4):
        await publish(servers, records[:150])
        await until(lambda: len(one.records) >= 20)
        async with consuming(servers, two, group=tenant, max_in_flight=4):
            await publish(servers, records[150:])
            await until(lambda: len({*one.numbers, *two.numbers}) >= 250)
        await until(lambda: len({*one.numbers, *two.numbers}) >= 300)
    assert two.records


async def test_a_killed_broker_comes_back_and_the_group_goes_on(servers: Servers) -> None:
    tenant = new_tenant()
    seen = Seen(tenant)
    records = notes(tenant, 40)
    async with opened_bus(servers) as (bus, _), consuming(servers, seen, group=tenant):
        await asyncio.gather(*(bus.publish(record) for record in records[:20]))
        await until(lambda: len(seen.records) >= 20)
        await servers.kill("kafka")
        await servers.ready("kafka")
        left = records[20:]
        async with asyncio.timeout(60):
            while left:
                try:
                    await bus.publish(left[0])
                    left.pop(0)
                except Unavailable:
                    await asyncio.sleep(0.2)
        await until(lambda: set(seen.numbers) == set(range(40)), seconds=60)
