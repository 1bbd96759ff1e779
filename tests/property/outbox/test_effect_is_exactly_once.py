"""Whoever crashes, and whenever: a committed change has its effect exactly once, another has none.

Hypothesis chooses where each party dies on the road of each record: the service (before the commit,
before publishing, before marking), the outbox worker (after it claimed, after it published), the consumer
(before its effect, after it, before its offset). A death is real: the connection is cut or the task is
cancelled, and nothing that would have followed runs. Postgres and Kafka are real.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.events import outbox
from mesh.events.bus import Bus
from mesh.storage import Database
from tests.support.events import Note, consuming, new_tenant, notes, until
from tests.support.events import settings as settings_of
from tests.support.servers import Servers
from workers.outbox.publisher import Publisher

TABLE = "memory.outbox"


class Death(Enum):
    """Where the service dies, if it does."""

    BEFORE_COMMIT = auto()
    BEFORE_PUBLISH = auto()
    BEFORE_MARK = auto()
    NOWHERE = auto()


class Late(Enum):
    """What one round of the outbox worker comes to."""

    DIES_AFTER_CLAIM = auto()
    DIES_AFTER_PUBLISH = auto()


class Meal(Enum):
    """Where the consumer dies at a delivery."""

    BEFORE_EFFECT = auto()
    AFTER_EFFECT = auto()


@dataclass
class Account:
    """A consumer's own store: effects, by the ids that it remembers in the same step."""

    known: set[str] = field(default_factory=set)
    total: int = 0
    deliveries: int = 0

    def apply(self, record: Note) -> None:
        """Add the record's number once."""
        self.deliveries += 1
        if record.id not in self.known:
            self.known.add(record.id)
            self.total += 1 + int(record.message.id)


class Died(Exception):
    """The party is gone; the transaction that it was in rolls back."""


async def change(database: Database, bus: Bus, record: Note, death: Death) -> None:
    """The service's road, up to its death."""
    async with database.transaction(tenant=record.tenant) as connection:
        sealed = await outbox.put(connection, record)
        if death is Death.BEFORE_COMMIT:
            raise Died
    if death is Death.BEFORE_PUBLISH:
        raise Died
    if death is Death.BEFORE_MARK:
        await bus.send(sealed)
        raise Died
    await bus.publish_committed(sealed)


async def late_round(database: Database, bus: Bus, ending: Late) -> None:
    """A round of the outbox worker that ends in its death."""
    async with database.transaction_all_tenants() as connection:
        rows = await outbox.claim(connection, table=TABLE, older_than=0, limit=100)
        if ending is Late.DIES_AFTER_PUBLISH:
            for row in rows:
                await bus.send(row)
            await outbox.mark(connection, [row.id for row in rows], table=TABLE)
        raise Died


def over(died: asyncio.Event, account: Account, wanted: int) -> bool:
    """Whether a consumer's life is over."""
    return died.is_set() or len(account.known) >= wanted


async def eat(servers: Servers, account: Account, tenant: str, meals: list[Meal], wanted: int) -> None:
    """Consume until everything wanted had its effect; die where the plan says so."""
    while True:
        died = asyncio.Event()

        async def handle(record: Note, died: asyncio.Event = died) -> None:
            if record.tenant != tenant:
                return
            meal = meals.pop() if meals else None
            if meal is not Meal.BEFORE_EFFECT:
                account.apply(record)
            if meal is not None:
                died.set()
                await asyncio.Event().wait()  # dead: no offset is ever committed for this record

        async with consuming(servers, handle, group=tenant):
            await until(partial(over, died, account, wanted))
        if not died.is_set():
            return


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    deaths=st.lists(st.sampled_from(Death), min_size=1, max_size=8),
    rounds=st.lists(st.sampled_from(Late), max_size=3),
    meals=st.lists(st.sampled_from(Meal), max_size=2),
)
async def test_a_committed_change_has_its_effect_exactly_once(
    servers: Servers, deaths: list[Death], rounds: list[Late], meals: list[Meal]
) -> None:
    tenant = new_tenant()
    service, worker = settings_of(servers, "memory"), settings_of(servers, "worker-outbox")
    account = Account()
    records = notes(tenant, len(deaths), keys=3)
    committed = [
        record for record, death in zip(records, deaths, strict=True) if death is not Death.BEFORE_COMMIT
    ]
    async with (
        Database.open(service.postgres_url) as database,
        Database.open(worker.postgres_url) as late_database,
        Bus.open(service, database) as bus,
        Bus.open(worker) as late_bus,
    ):
        for record, death in zip(records, deaths, strict=True):
            await survive(change(database, bus, record, death))
        for ending in rounds:
            await survive(late_round(late_database, late_bus, ending))
        publisher = Publisher(
            database=late_database, bus=late_bus, published=lambda *_: None, failed=lambda *_: None
        )
        await publisher.publish_once(older_than=0)
        async with database.transaction(tenant=tenant) as connection:
            left = "select count(*) from outbox where published_at is null and tenant = $1"
            async with asyncio.timeout(5):
                while await connection.fetchval(left, tenant):  # noqa: ASYNC110 - marks come in batches
                    await asyncio.sleep(0.02)
    await eat(servers, account, tenant, list(meals), len(committed))
    assert account.known == {record.id for record in committed}
    assert account.total == sum(1 + int(record.message.id) for record in committed)


async def survive(party: Coroutine[object, object, None]) -> None:
    """Let a party die without taking the test with it."""
    try:
        await party
    except Died:
        return
