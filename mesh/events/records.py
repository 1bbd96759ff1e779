"""A record: one event, as the outbox keeps it and as Kafka carries it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from mesh.runtime import trace
from mesh.runtime.context import current_or_none
from mesh.runtime.ids import new_id

RECORD_ID: Final = "soma-record-id"
TENANT: Final = "soma-tenant"
REQUEST_ID: Final = "soma-request-id"

Event = TypeVar("Event", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Generic[Event]):
    """One event.

    Attributes:
        id: its identity; whoever handles it remembers this and does nothing the second time.
        topic: where it goes.
        key: what it is ordered by.
        tenant: whom it belongs to; empty for what belongs to no tenant.
        message: what happened.
    """

    id: str = field(default_factory=lambda: new_id("rec"))
    topic: str
    key: str
    tenant: str
    message: Event


@dataclass(frozen=True, slots=True)
class Envelope:
    """A record in bytes: what the outbox stores and the bus sends."""

    id: str
    topic: str
    key: str
    tenant: str
    payload: bytes
    headers: Mapping[str, str]

    def kafka_headers(self) -> list[tuple[str, bytes]]:
        """Return every header, the identity and the tenant included."""
        own = [(RECORD_ID, self.id.encode()), (TENANT, self.tenant.encode())]
        return own + [(name, value.encode()) for name, value in self.headers.items()]


def seal(record: Record[Event]) -> Envelope:
    """Return the record in bytes, with the request and trace of the call in progress."""
    call = current_or_none()
    headers: dict[str, str] = {}
    if call is not None:
        headers = {REQUEST_ID: call.request_id, trace.HEADER: call.trace.header()}
    return Envelope(
        id=record.id,
        topic=record.topic,
        key=record.key,
        tenant=record.tenant,
        payload=record.message.SerializeToString(),
        headers=headers,
    )


def header_values(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Return Kafka headers as text; bytes that are not UTF-8 are left out."""
    values = {}
    for name, value in headers:
        try:
            values[name] = value.decode()
        except UnicodeDecodeError:
            continue
    return values
