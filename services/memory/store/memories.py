"""Memories in Postgres."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mesh.events import outbox
from mesh.events.records import Envelope
from mesh.storage.database import Connection, Database
from services.memory.domain import texts
from services.memory.domain.resources import Memory
from services.memory.events import Event
from services.memory.store import requests
from services.memory.store.requests import Request
from services.memory.store.tenancy import tenant
from services.memory.store.vectors import Space

_COLUMNS: Final = "id, text, session_id, labels, created_at, indexed"
_INSERT: Final = f"""
    insert into memories (id, tenant, text, session_id, turn_id, labels, digest, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict do nothing
    returning {_COLUMNS}
"""
_OF_TURN: Final = f"""
    select {_COLUMNS} from memories
    where tenant = $1 and turn_id is not null and (turn_id = $2 or (session_id = $3 and digest = $4))
    order by id limit 1
"""
_GET: Final = f"select {_COLUMNS} from memories where tenant = $1 and id = $2"
_PAGE: Final = f"""
    select {_COLUMNS} from memories
    where tenant = $1 and ($2::text is null or id < $2)
    order by id desc limit $3
"""
_DELETE: Final = "delete from memories where tenant = $1 and id = $2 returning id"
_REMOVAL: Final = """
    insert into removals (point_id, tenant, collection) values ($1, $2, $3) on conflict do nothing
"""
_INDEXED: Final = "update memories set indexed = true where tenant = $1 and id = any($2) and not indexed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A memory as it stands in its row."""

    memory: Memory
    indexed: bool
    published: tuple[Envelope, ...] = ()
    """What this very change is to tell; empty where nothing changed."""


def memory_of(row: Any) -> Memory:
    """Read a row."""
    return Memory(
        id=row["id"],
        text=row["text"],
        session_id=row["session_id"],
        labels=json.loads(row["labels"]),
        created_at=row["created_at"],
    )


def _kept(row: Any, published: Sequence[Envelope] = ()) -> Kept:
    return Kept(memory=memory_of(row), indexed=row["indexed"], published=tuple(published))


class MemoryStore:
    """Rows of memories of the tenant of the call in progress."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def made_by(self, request: Request) -> Kept | None:
        """Give the memory that a request made already.

        Raises:
            AlreadyExists: the request id stands for another request.
        """
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            made = await requests.find(connection, tenant=tenant(), request=request)
            return None if made is None else await _find(connection, made)

    async def add(self, memory: Memory, *, request: Request, events: Sequence[Event]) -> Kept | None:
        """Write a memory with what it is to tell, unless the request has made one.

        Gives None where the request made a memory that was forgotten since.

        Raises:
            AlreadyExists: the request id stands for another request.
        """
        async with self._database.transaction(tenant=tenant()) as connection:
            made = await requests.claim(connection, tenant=tenant(), request=request, resource_id=memory.id)
            if made is not None:
                return await _find(connection, made)
            row = await _insert(connection, memory, turn_id=None)
            return _kept(row, [await outbox.put(connection, event) for event in events])

    async def add_of_turn(self, memory: Memory, *, turn_id: str, events: Sequence[Event]) -> Kept | None:
        """Write the memory of a turn, unless the turn or the same words in its session have one."""
        async with self._database.transaction(tenant=tenant()) as connection:
            row = await _insert(connection, memory, turn_id=turn_id)
            if row is not None:
                return _kept(row, [await outbox.put(connection, event) for event in events])
            found = await connection.fetchrow(
                _OF_TURN, tenant(), turn_id, memory.session_id, texts.digest(memory.text)
            )
            return None if found is None else _kept(found)

    async def get(self, memory_id: str) -> Memory | None:
        """Give a memory, or None."""
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            found = await _find(connection, memory_id)
            return None if found is None else found.memory

    async def page(self, *, before: str | None, size: int) -> list[Memory]:
        """Give memories older than `before`, newest first."""
        async with self._database.transaction(tenant=tenant(), readonly=True) as connection:
            rows = await connection.fetch(_PAGE, tenant(), before, size)
            return [memory_of(row) for row in rows]

    async def forget(self, memory_id: str, *, events: Sequence[Event]) -> tuple[Envelope, ...] | None:
        """Delete a memory and note that its point is to go; None where there is none."""
        async with self._database.transaction(tenant=tenant()) as connection:
            if await connection.fetchval(_DELETE, tenant(), memory_id) is None:
                return None
            await connection.execute(_REMOVAL, memory_id, tenant(), Space.MEMORIES.value)
            return tuple([await outbox.put(connection, event) for event in events])

    async def mark_indexed(self, memory_ids: Sequence[str]) -> None:
        """Note that the vector store holds these."""
        async with self._database.transaction(tenant=tenant()) as connection:
            await connection.execute(_INDEXED, tenant(), list(memory_ids))


async def _find(connection: Connection, memory_id: str) -> Kept | None:
    row = await connection.fetchrow(_GET, tenant(), memory_id)
    return None if row is None else _kept(row)


async def _insert(connection: Connection, memory: Memory, *, turn_id: str | None) -> Any:
    return await connection.fetchrow(
        _INSERT,
        *(memory.id, tenant(), memory.text, memory.session_id, turn_id),
        *(json.dumps(dict(memory.labels)), texts.digest(memory.text), memory.created_at),
    )
