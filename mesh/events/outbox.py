"""The outbox: events are rows of the transaction that they tell of.

`put` writes a row. After the commit the same process publishes it at once and
marks it (`mesh.events.bus`); the outbox worker publishes what a crash left
unmarked. A mark may be lost, so a record can be published twice and never not
at all.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from mesh.events.records import Envelope, Event, Record, seal
from mesh.storage.database import Connection

_PUT: Final = """
    insert into outbox (id, topic, key, tenant, payload, headers)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::jsonb[])
    on conflict (id) do nothing
"""
_MARK: Final = """
    update {table} set published_at = clock_timestamp()
    where id = any($1) and published_at is null
"""
_CLAIM: Final = """
    select id, topic, key, tenant, payload, headers
    from {table}
    where published_at is null and created_at < clock_timestamp() - make_interval(secs => $1)
      and not id = any($3)
    order by created_at
    limit $2
    for update skip locked
"""
_SWEEP: Final = """
    delete from {table}
    where id in (
        select id from {table}
        where published_at < clock_timestamp() - make_interval(secs => $1)
        limit $2
        for update skip locked)
"""

_TABLES: Final = """
    select format('%I.%I', schemaname, tablename) from pg_tables
    where tablename = 'outbox' and has_schema_privilege(schemaname, 'usage')
    order by 1
"""
_HAS_WORK: Final = """
    select '{table}' where exists (
        select from {table}
        where published_at is null and created_at < clock_timestamp() - make_interval(secs => $1))
"""


async def put(connection: Connection, record: Record[Event]) -> Envelope:
    """Write the record's row in the transaction of `connection`; the same id twice is one row."""
    return (await put_all(connection, (record,)))[0]


async def put_all(connection: Connection, records: Sequence[Record[Any]]) -> list[Envelope]:
    """Write the rows of several records by one statement, in their order; see `put`."""
    sealed = [seal(record) for record in records]
    if sealed:
        await connection.execute(_PUT, *columns(sealed))
    return sealed


def put_beside(made: str, *, first: int) -> str:
    """Return the insert of records for a `with` query: of all where the query `made` has a row, else of none.

    Its parameters, `columns(envelopes)`, begin at `$first`.
    """
    kinds = ("text", "text", "text", "text", "bytea", "jsonb")
    places = ", ".join(f"${first + place}::{kind}[]" for place, kind in enumerate(kinds))
    return f"""
        insert into outbox (id, topic, key, tenant, payload, headers)
        select leaving.* from {made}, unnest({places}) as leaving
        on conflict (id) do nothing
    """


def columns(
    envelopes: Sequence[Envelope],
) -> tuple[list[str], list[str], list[str], list[str], list[bytes], list[str]]:
    """Return the values of records' rows, column by column."""
    return (
        [one.id for one in envelopes],
        [one.topic for one in envelopes],
        [one.key for one in envelopes],
        [one.tenant for one in envelopes],
        [one.payload for one in envelopes],
        [json.dumps(dict(one.headers)) for one in envelopes],
    )


async def mark(connection: Connection, ids: Sequence[str], *, table: str = "outbox") -> None:
    """Say that these records were published; needs a transaction over all tenants."""
    await connection.execute(_MARK.format(table=table), list(ids))


async def claim(
    connection: Connection,
    *,
    table: str,
    older_than: float,
    limit: int,
    besides: Collection[str] = (),
) -> list[Envelope]:
    """Lock and return unpublished rows that are older than some seconds, oldest first."""
    rows = await connection.fetch(_CLAIM.format(table=table), older_than, limit, list(besides))
    return [
        Envelope(
            id=row["id"],
            topic=row["topic"],
            key=row["key"],
            tenant=row["tenant"],
            payload=row["payload"],
            headers=json.loads(row["headers"]),
        )
        for row in rows
    ]


async def sweep(connection: Connection, *, table: str, older_than: float, limit: int) -> int:
    """Delete rows that were published longer ago than some seconds; return how many."""
    done = await connection.execute(_SWEEP.format(table=table), older_than, limit)
    return int(done.rpartition(" ")[2])


async def tables(connection: Connection) -> tuple[str, ...]:
    """Return every outbox that this role may touch, as `schema.outbox`."""
    return tuple(row[0] for row in await connection.fetch(_TABLES))


async def with_unpublished(connection: Connection, *, tables: Sequence[str], older_than: float) -> list[str]:
    """Return the outboxes that hold rows left behind; one question for all of them."""
    question = " union all ".join(_HAS_WORK.format(table=table) for table in tables)
    return [row[0] for row in await connection.fetch(question, older_than)]
