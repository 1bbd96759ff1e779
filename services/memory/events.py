"""What memory tells of: its own events and the audit records of its changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1 import resources_pb2 as audit_pb
from soma.memory.v1 import events_pb2, resources_pb2

from mesh.events.records import Record
from mesh.runtime.context import current
from mesh.runtime.ids import new_id

MEMORY_EVENTS: Final = "memory.events"
AUDIT_RECORDS: Final = "audit.records"
Event = Record[Message]


def timestamp(moment: datetime) -> Timestamp:
    """Write a moment."""
    written = Timestamp()
    written.FromDatetime(moment)
    return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a change comes from.

    Attributes:
        actor: the token's subject, else the calling workload.
        request_id: of the call that asked.
        decision_id: of the policy's decision that allowed it; empty where a workload acts by itself.
        policy_version: of that decision.
    """

    actor: str
    request_id: str
    decision_id: str = ""
    policy_version: int = 0


def origin() -> Origin:
    """Give where a change comes from that the call in progress makes."""
    call = current()
    decision = call.decision
    return Origin(
        actor=call.principal.subject if call.principal is not None else f"workload:{call.caller}",
        request_id=call.request_id,
        decision_id=decision.id if decision is not None else "",
        policy_version=decision.policy_version if decision is not None else 0,
    )


def audit(
    *,
    tenant: str,
    action: str,
    resource: str,
    origin: Origin,
    now: datetime,
    details: Mapping[str, str],
) -> Event:
    """Make the audit record of a change that was done."""
    record = audit_pb.AuditRecord(
        id=new_id("aud"),
        tenant=tenant,
        time=timestamp(now),
        action=action,
        actor=origin.actor,
        resource=resource,
        outcome="completed",
        decision_id=origin.decision_id,
        policy_version=origin.policy_version,
        request_id=origin.request_id,
        details=details,
    )
    return Record(id=record.id, topic=AUDIT_RECORDS, key=tenant, tenant=tenant, message=record)


def _event(tenant: str, now: datetime, content: events_pb2.MemoryEvent) -> Event:
    content.id = new_id("evt")
    content.time.CopyFrom(timestamp(now))
    return Record(id=content.id, topic=MEMORY_EVENTS, key=tenant, tenant=tenant, message=content)


def remembered(tenant: str, now: datetime, memory: resources_pb2.Memory) -> Event:
    """Tell that a memory was written."""
    return _event(tenant, now, events_pb2.MemoryEvent(remembered=memory))


def forgotten(tenant: str, now: datetime, memory_id: str) -> Event:
    """Tell that a memory was forgotten."""
    return _event(tenant, now, events_pb2.MemoryEvent(forgotten=resources_pb2.Memory(id=memory_id)))


def ingested(tenant: str, now: datetime, document: resources_pb2.Document) -> Event:
    """Tell that a document was ingested."""
    return _event(tenant, now, events_pb2.MemoryEvent(ingested=document))


def deleted(tenant: str, now: datetime, document_id: str) -> Event:
    """Tell that a document was deleted."""
    return _event(tenant, now, events_pb2.MemoryEvent(deleted=resources_pb2.Document(id=document_id)))
