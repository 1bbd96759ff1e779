"""What the domain needs of the world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from soma.audit.v1.resources_pb2 import AuditRecord

from services.audit.domain.chain import Head, Link


@dataclass(frozen=True, slots=True)
class Filter:
    """Only these records; all when empty."""

    resource: str = ""
    action: str = ""


class RecordStore(Protocol):
    """Where the chains are. A record is written once and never again."""

    async def append(self, tenant: str, records: Sequence[AuditRecord]) -> Mapping[str, Link]:
        """Put the records that are not there at the chain's end, in order; give all places by id.

        Two appends of one tenant are one after the other.
        """
        ...

    async def get(self, tenant: str, record_id: str) -> Link | None:
        """Give a record by its id."""
        ...

    async def after(self, tenant: str, index: int, *, limit: int, wanted: Filter) -> Sequence[Link]:
        """Give the records after an index, oldest first."""
        ...

    async def head(self, tenant: str) -> Head:
        """Give the chain's end."""
        ...
