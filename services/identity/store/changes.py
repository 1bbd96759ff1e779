"""How a change and what it tells of become one transaction, and leave after the commit."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from mesh.events import outbox
from mesh.events.records import Envelope
from mesh.storage import Connection, Database
from services.identity import events
from services.identity.domain.model import Change, Revocation

CHANNEL: Final = "identity_trust"
"""Where replicas hear that keys or revocations changed; the news carries nothing else."""
_REVOKE: Final = """
    insert into revocations (token_id, tenant, revoke_time, expire_time)
    select unnest($1::text[]), $2, unnest($3::timestamptz[]), unnest($4::timestamptz[])
    on conflict (token_id) do nothing
"""


@dataclass(slots=True)
class Writing:
    """A transaction in progress, and what leaves when it is committed."""

    connection: Connection
    tenant: str
    leaving: list[Envelope] = field(default_factory=list)

    async def tell(self, change: Change) -> None:
        """Write the change's records to the outbox, and its revocations."""
        if change.revocations:
            await self.revoke(change.revocations)
        for record in events.records_of(change, tenant=self.tenant, now=datetime.now(UTC)):
            self.leaving.append(await outbox.put(self.connection, record))

    async def revoke(self, revocations: Iterable[Revocation]) -> None:
        """Keep revocations, and wake every replica."""
        listed = list(revocations)
        await self.connection.execute(
            _REVOKE,
            [each.token_id for each in listed],
            self.tenant,
            [each.revoke_time for each in listed],
            [each.expire_time for each in listed],
        )
        await self.wake()

    async def wake(self) -> None:
        """Tell every replica, at the commit, to read keys and revocations."""
        await self.connection.execute("select pg_notify($1, '')", CHANNEL)


@dataclass(frozen=True, slots=True)
class Writer:
    """Opens transactions; `leave` gets what the outbox holds, after the commit."""

    database: Database
    leave: Callable[[Envelope], None]

    @contextlib.asynccontextmanager
    async def writing(self, tenant: str) -> AsyncIterator[Writing]:
        """Run a transaction of a tenant; its records leave when it is committed."""
        async with self.database.transaction(tenant=tenant) as connection:
            writing = Writing(connection, tenant)
            yield writing
        for envelope in writing.leaving:
            self.leave(envelope)
