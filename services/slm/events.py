"""What slm tells others: audit records."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1 import resources_pb2 as audit_pb

from mesh.events.records import Record
from mesh.runtime.context import current_or_none
from mesh.runtime.ids import new_id
from services.slm.domain.model import Fact

AUDIT_TOPIC = "audit.records"


def audit_record(fact: Fact, *, tenant: str) -> Record[audit_pb.AuditRecord]:
    """Return the audit record of a fact."""
    call = current_or_none()
    decision = call.decision if call is not None else None
    record = audit_pb.AuditRecord(
        id=new_id("aud"),
        tenant=tenant,
        time=timestamp(fact.time),
        action=fact.action,
        actor=fact.actor,
        resource=fact.resource,
        outcome="completed",
        decision_id=decision.id if decision is not None else "",
        policy_version=decision.policy_version if decision is not None else 0,
        request_id=call.request_id if call is not None else "",
        details=fact.details,
    )
    return Record(id=record.id, topic=AUDIT_TOPIC, key=tenant, tenant=tenant, message=record)


def timestamp(moment: datetime) -> Timestamp:
    """Convert a moment."""
    sent = Timestamp()
    sent.FromDatetime(moment)
    return sent
