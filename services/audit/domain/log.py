"""One tenant's log: append, read, verify."""

import re
from collections.abc import Sequence
from typing import Final

from soma.audit.v1.resources_pb2 import AuditRecord

from services.audit.domain.chain import Link, Verification
from services.audit.errors import record_malformed, record_not_found, tenant_mismatch
from services.audit.ports import Filter, RecordStore

_ID: Final = re.compile(r"aud_[0-9a-f]{32}")


class Log:
    """What the service does, on any store."""

    def __init__(self, store: RecordStore, *, verify_batch: int) -> None:
        """Take where records are, and how many of them to hold at once."""
        self._store = store
        self._verify_batch = verify_batch

    async def append(self, tenant: str, records: Sequence[AuditRecord]) -> list[Link]:
        """Append records in order and give their places; one that is there already keeps its place.

        Raises:
            InvalidArgument: a record has no id or time.
            PermissionDenied: a record is another tenant's.
        """
        for place, record in enumerate(records):
            if record.tenant != tenant:
                raise tenant_mismatch()
            if not _ID.fullmatch(record.id):
                raise record_malformed(place, "id", "must be aud_ and 32 hex digits")
            if not record.HasField("time"):
                raise record_malformed(place, "time", "is required")
        unique: dict[str, AuditRecord] = {}
        for record in records:
            unique.setdefault(record.id, record)
        places = await self._store.append(tenant, tuple(unique.values()))
        return [places[record.id] for record in records]

    async def get(self, tenant: str, record_id: str) -> Link:
        """Give one record.

        Raises:
            NotFound: there is none for this tenant.
        """
        link = await self._store.get(tenant, record_id)
        if link is None:
            raise record_not_found(record_id)
        return link

    async def page(self, tenant: str, wanted: Filter, *, after: int, size: int) -> tuple[list[Link], int]:
        """Give records after an index, oldest first, and the index to go on after; 0 at the end."""
        found = await self._store.after(tenant, after, limit=size + 1, wanted=wanted)
        page = list(found[:size])
        return page, page[-1].index if len(found) > size else 0

    async def verify(self, tenant: str) -> Verification:
        """Recompute the chain as it stands now, batch by batch; stop at the first link that does not fit."""
        end = await self._store.head(tenant)
        found = Verification()
        while found.record_count < end.index:
            size = min(self._verify_batch, end.index - found.record_count)
            links = await self._store.after(tenant, found.record_count, limit=size, wanted=Filter())
            if not links:
                found.first_invalid_index = found.record_count + 1
                break
            if not found.check(tenant, links):
                break
        return found
