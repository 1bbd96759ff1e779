"""The outbox on a real Postgres and a real broker: at once, or after a crash, but always."""

import asyncio

import pytest

from mesh.events import outbox
from mesh.events.bus import Bus
from mesh.events.records import Record
from mesh.runtime.errors import ConfigurationError, Unavailable
from mesh.storage import Database
from tests.integration.events.test_consumer import Seen
from tests.support.events import consuming, new_tenant, notes, opened_bus, settings, until
from tests.support.servers import Servers
from workers.outbox.publisher import Publisher


async def unpublished(database: Database, tenant: str) -> int:
    async with database.transaction(tenant=tenant) as connection:
        return int(
            await connection.fetchval(
                "select count(*) from outbox where tenant = $1 and published_at is null", tenant
            )
        )


async def test_a_committed_record_is_published_and_marked_at_once(servers: Servers) -> None:
    tenant = new_tenant()
    seen = Seen(tenant)
    async with opened_bus(servers) as (bus, database), consuming(servers, seen, group=tenant):
        for record in notes(tenant, 5):
            async with database.transaction(tenant=tenant) as connection:
                await outbox.put(connection, record)
            assert await bus.publish_committed(record)
        await until(lambda: len(seen.records) >= 5)
        async with asyncio.timeout(5):
            while await unpublished(database, tenant):  # noqa: ASYNC110 - a row has no event
                await asyncio.sleep(0.02)
    assert sorted(seen.numbers) == [0, 1, 2, 3, 4]


async def test_a_transaction_that_fails_leaves_no_record(servers: Servers) -> None:
    tenant = new_tenant()
    async with opened_bus(servers) as (_, database):

        async def fails() -> None:
            async with database.transaction(tenant=tenant) as connection:
                await outbox.put(connection, notes(tenant, 1)[0])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fails()
        assert await unpublished(database, tenant) == 0


async def test_a_record_belongs_to_the_tenant_of_its_transaction(servers: Servers) -> None:
    async with opened_bus(servers) as (_, database):
        with pytest.raises(Exception, match="row-level security"):
            async with database.transaction(tenant=new_tenant()) as connection:
                await outbox.put(connection, notes(new_tenant(), 1)[0])


async def test_what_a_crash_left_behind_is_published_by_the_worker(servers: Servers) -> None:
    tenant = new_tenant()
    seen = Seen(tenant)
    own = settings(servers, "worker-outbox")
    async with opened_bus(servers) as (_, database), consuming(servers, seen, group=tenant):
        async with database.transaction(tenant=tenant) as connection:
            for record in notes(tenant, 250, keys=1):
                await outbox.put(connection, record)
        async with Database.open(own.postgres_url) as workers, Bus.open(own) as bus:
            published: dict[str, int] = {}
            one, two = (
                Publisher(database=workers, bus=bus, published=published.setdefault, failed=lambda *_: None)
                for _ in range(2)
            )
            both = await asyncio.gather(one.publish_once(older_than=0), two.publish_once(older_than=0))
            assert sum(both) >= 250
            assert await unpublished(database, tenant) == 0
            await until(lambda: len(set(seen.numbers)) >= 250)
            assert await one.sweep_once(older_than=0) >= 250
        async with database.transaction(tenant=tenant) as connection:
            assert await connection.fetchval("select count(*) from outbox") == 0


async def test_the_worker_may_read_and_mark_outboxes_and_nothing_else(servers: Servers) -> None:
    own = settings(servers, "worker-outbox")
    async with Database.open(own.postgres_url) as database:
        async with database.transaction_all_tenants() as connection:
            assert "memory.outbox" in await outbox.tables(connection)
        for statement in (
            "select 1 from identity.users",
            "update memory.outbox set payload = ''",
            "insert into memory.outbox (id, topic, key, tenant, payload) values ('x','x','x','x','')",
        ):
            with pytest.raises(Exception, match=r"permission denied|does not exist"):
                async with database.transaction_all_tenants() as connection:
                    await connection.execute(statement)


async def test_a_workload_may_not_write_anothers_topic(servers: Servers) -> None:
    from soma.slm.v1 import events_pb2

    foreign = Record(
        topic="slm.requests", key="k", tenant=new_tenant(), message=events_pb2.GenerationRequest()
    )
    async with opened_bus(servers) as (bus, _):
        with pytest.raises(Unavailable, match="Authorization"):
            await bus.publish(foreign)


async def test_a_bus_without_a_database_marks_nothing(servers: Servers) -> None:
    async with Bus.open(settings(servers, "memory")) as bus:
        with pytest.raises(ConfigurationError, match="database"):
            await bus.publish_committed(notes(new_tenant(), 1)[0])


async def test_a_record_survives_an_outage_of_the_broker(servers: Servers) -> None:
    tenant = new_tenant()
    seen = Seen(tenant)
    own = settings(servers, "worker-outbox")
    async with opened_bus(servers) as (bus, database):
        record = notes(tenant, 1)[0]
        async with database.transaction(tenant=tenant) as connection:
            await outbox.put(connection, record)
        await servers.kill("kafka")
        await bus.publish_committed(record)
        await servers.ready("kafka")
        async with Database.open(own.postgres_url) as workers, Bus.open(own) as late:
            publisher = Publisher(
                database=workers, bus=late, published=lambda *_: None, failed=lambda *_: None
            )
            async with asyncio.timeout(60):
                while await unpublished(database, tenant):
                    await publisher.publish_once(older_than=0)
                    await asyncio.sleep(0.2)
        async with consuming(servers, seen, group=tenant):
            await until(lambda: bool(seen.records), seconds=60)
    assert {each.id for each in seen.records} == {record.id}
