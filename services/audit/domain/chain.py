"""The chain: each record's hash covers the one before, so that no record changes or goes unnoticed.

    hash(n) = SHA-256("soma.audit.v1.ChainedRecord" || 0x00 || hash(n - 1) || record(n))

where `hash(0)` is 32 zero bytes and `record(n)` the deterministic serialization of the AuditRecord as it was
taken in. The name in front separates these hashes from all others of the platform (the idea of RFC 6962,
section 2.1); what follows has a fixed length but for the last part, so that no two inputs are spelled alike.
What a chain alone cannot show is that its end was cut off: that takes a hash of it kept elsewhere.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from soma.audit.v1.resources_pb2 import AuditRecord

DOMAIN: Final = b"soma.audit.v1.ChainedRecord\x00"
GENESIS: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Link:
    """A record in its place. `action` and `resource` are what lists filter by, kept beside the bytes."""

    index: int
    record: bytes
    hash: bytes
    previous_hash: bytes
    id: str
    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain."""

    index: int = 0
    hash: bytes = GENESIS


@dataclass(slots=True)
class Verification:
    """What was found so far; `first_invalid_index` is 0 while everything fits."""

    record_count: int = 0
    first_invalid_index: int = 0
    head_hash: bytes = GENESIS

    @property
    def valid(self) -> bool:
        """Whether everything fits so far."""
        return self.first_invalid_index == 0

    def check(self, tenant: str, links: Iterable[Link]) -> bool:
        """Check the next links; False, and the index, at the first that does not fit."""
        for link in links:
            expected = self.record_count + 1
            if not (link.index == expected and link.previous_hash == self.head_hash and fits(tenant, link)):
                self.first_invalid_index = expected
                return False
            self.record_count = expected
            self.head_hash = link.hash
        return True


def link_hash(previous: bytes, record: bytes) -> bytes:
    """Compute a record's hash from the one before and its bytes."""
    return hashlib.sha256(DOMAIN + previous + record).digest()


def extend(head: Head, records: Iterable[AuditRecord]) -> Iterator[Link]:
    """Put records at the end of a chain."""
    for record in records:
        serialized = record.SerializeToString(deterministic=True)
        link = Link(
            index=head.index + 1,
            record=serialized,
            hash=link_hash(head.hash, serialized),
            previous_hash=head.hash,
            id=record.id,
            action=record.action,
            resource=record.resource,
        )
        head = Head(link.index, link.hash)
        yield link


def fits(tenant: str, link: Link) -> bool:
    """Say whether a link's hash is that of its bytes, and whether what lists filter by is what they say."""
    if link.hash != link_hash(link.previous_hash, link.record):
        return False
    try:
        record = AuditRecord.FromString(link.record)
    except DecodeError:
        return False
    stored = (link.id, link.action, link.resource, tenant)
    return stored == (record.id, record.action, record.resource, record.tenant)
