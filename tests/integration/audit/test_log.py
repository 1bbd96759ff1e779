"""The chain on a real Postgres: in order under contention, once each, and never changed."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1.resources_pb2 import AuditRecord

from mesh.runtime.errors import InvalidArgument, NotFound, PermissionDenied
from mesh.runtime.ids import new_id
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from mesh.storage import Database
from services.audit.domain.log import Log
from services.audit.ports import Filter


def record(tenant: str, **fields: object) -> AuditRecord:
    given: dict[str, object] = {"id": new_id("aud"), "action": "turns.create", "resource": "trn_1"}
    message = AuditRecord(tenant=tenant, **(given | fields))  # type: ignore[arg-type]  # by name
    message.time.CopyFrom(Timestamp(seconds=1_700_000_000))
    return message


async def test_records_stand_in_the_order_of_their_append(log: Log, tenant: str) -> None:
    first = await log.append(tenant, [record(tenant) for _ in range(3)])
    second = await log.append(tenant, [record(tenant)])
    assert [link.index for link in [*first, *second]] == [1, 2, 3, 4]
    assert (await log.verify(tenant)).valid


async def test_a_record_that_is_there_keeps_its_place(log: Log, tenant: str) -> None:
    one, two = record(tenant), record(tenant)
    (before,) = await log.append(tenant, [one])
    again = await log.append(tenant, [one, two, one, two])
    assert [link.index for link in again] == [1, 2, 1, 2]
    assert again[0] == before


async def test_a_chain_under_contention_has_no_gap_and_no_fork(log: Log, tenant: str) -> None:
    shared = record(tenant)
    batches = [[record(tenant), shared, record(tenant)] for _ in range(20)]
    await asyncio.gather(*(log.append(tenant, batch) for batch in batches))
    found = await log.verify(tenant)
    assert (found.valid, found.record_count) == (True, 41)


async def test_tenants_have_chains_of_their_own(log: Log, tenant: str) -> None:
    other = new_id("tnt")
    mine = record(tenant)
    await log.append(tenant, [mine])
    (theirs,) = await log.append(other, [record(other)])
    assert theirs.index == 1
    with pytest.raises(NotFound):
        await log.get(other, mine.id)


async def test_pages_follow_each_other_and_filters_hold(log: Log, tenant: str) -> None:
    for number in range(10):
        await log.append(tenant, [record(tenant, resource=f"trn_{number % 2}", action=f"a.{number % 5}")])
    seen, after = [], 0
    while True:
        page, after = await log.page(tenant, Filter(resource="trn_1"), after=after, size=2)
        seen += [link.index for link in page]
        if not after:
            break
    assert seen == [2, 4, 6, 8, 10]
    both, _ = await log.page(tenant, Filter(resource="trn_1", action="a.3"), after=0, size=50)
    assert [link.index for link in both] == [4]


async def test_records_that_cannot_be_told_apart_or_are_anothers_are_refused(log: Log, tenant: str) -> None:
    with pytest.raises(InvalidArgument, match=r"records\[1\].id"):
        await log.append(tenant, [record(tenant), record(tenant, id="turn-1")])
    timeless = record(tenant)
    timeless.ClearField("time")
    with pytest.raises(InvalidArgument, match=r"records\[0\].time"):
        await log.append(tenant, [timeless])
    with pytest.raises(PermissionDenied):
        await log.append(tenant, [record(new_id("tnt"))])
    assert (await log.verify(tenant)).record_count == 0


CHANGES = (
    "update records set record = record where tenant = $1",
    "update records set resource = 'another' where tenant = $1",
    "delete from records where tenant = $1",
)


@pytest.mark.parametrize("statement", CHANGES)
async def test_the_service_itself_cannot_change_a_record(
    log: Log, database: Database, tenant: str, statement: str
) -> None:
    await log.append(tenant, [record(tenant)])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(tenant=tenant) as connection:
            await connection.execute(statement, tenant)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(tenant=tenant) as connection:
            await connection.execute("truncate records")


async def test_the_owner_of_the_tables_cannot_change_a_record_either(
    log: Log, settings: StackSettings, tenant: str
) -> None:
    await log.append(tenant, [record(tenant)])
    connection = await asyncpg.connect(Environment(settings).postgres_url("soma_owner"))
    try:
        # Forced row-level security hides the rows: what the owner cannot see it cannot change.
        assert await connection.execute(f"delete from audit.records where tenant = '{tenant}'") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await connection.execute("truncate audit.records")
    finally:
        await connection.close()
    assert (await log.verify(tenant)).record_count == 1


HARMS = {
    "changed": ("update audit.records set record = record || $2 where tenant = $1 and index = 3", 3),
    "hidden": ("update audit.records set resource = 'x' || $2::text where tenant = $1 and index = 3", 3),
    "removed": ("delete from audit.records where tenant = $1 and index = 3 and $2 <> ''", 3),
}


@pytest.mark.parametrize("harm", HARMS)
async def test_a_change_by_the_owner_of_the_machine_is_noticed(
    log: Log, settings: StackSettings, tenant: str, harm: str
) -> None:
    await log.append(tenant, [record(tenant) for _ in range(9)])
    statement, first_invalid = HARMS[harm]
    await _as_administrator(settings, statement, tenant)
    found = await log.verify(tenant)
    assert (found.valid, found.first_invalid_index) == (False, first_invalid)


async def _as_administrator(settings: StackSettings, statement: str, tenant: str) -> None:
    """Do what only the superuser of Postgres can: replica mode passes triggers over."""
    secret = (settings.home.secrets / "postgres-postgres").read_text(encoding="ascii").strip()
    address = settings.ports.address("postgres")
    connection = await asyncpg.connect(f"postgresql://postgres:{secret}@{address}/soma")
    extra = b"\x12\x01x" if "record ||" in statement else "x"
    try:
        async with connection.transaction():
            await connection.execute("set local session_replication_role = replica")
            assert (await connection.execute(statement, tenant, extra)).endswith(" 1")
    finally:
        await connection.close()
