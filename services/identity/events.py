"""What identity tells others: audit records and identity events, as outbox records."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1 import resources_pb2 as audit_pb
from soma.identity.v1 import events_pb2, resources_pb2

from mesh.events.records import Record
from mesh.runtime.context import current_or_none
from mesh.runtime.ids import new_id
from services.identity.domain.model import Change, Fact, PublicKey, Revocation, Tenant

AUDIT_TOPIC = "audit.records"
EVENTS_TOPIC = "identity.events"


def records_of(change: Change, *, tenant: str, now: datetime) -> Iterator[Record[Any]]:
    """Yield what a change tells, under the tenant whose change it is."""
    for fact in change.facts:
        yield audit_record(fact, tenant=tenant)
    for revocation in change.revocations:
        yield _event(tenant, now, token_revoked=revocation_message(revocation))
    if change.created_tenant is not None:
        yield _event(change.created_tenant.id, now, tenant_created=tenant_message(change.created_tenant))
    if change.rotated_key is not None:
        yield _event(tenant, now, key_rotated=key_message(change.rotated_key))


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
        outcome=fact.outcome,
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


def tenant_message(tenant: Tenant) -> resources_pb2.Tenant:
    """Convert a tenant."""
    return resources_pb2.Tenant(
        id=tenant.id, display_name=tenant.display_name, create_time=timestamp(tenant.create_time)
    )


def key_message(key: PublicKey) -> resources_pb2.VerificationKey:
    """Convert a public key."""
    return resources_pb2.VerificationKey(id=key.kid, jwk=key.jwk, expire_time=timestamp(key.expire_time))


def revocation_message(revocation: Revocation) -> resources_pb2.Revocation:
    """Convert a revocation."""
    return resources_pb2.Revocation(
        token_id=revocation.token_id,
        revoke_time=timestamp(revocation.revoke_time),
        expire_time=timestamp(revocation.expire_time),
    )


def _event(
    tenant: str,
    now: datetime,
    *,
    token_revoked: resources_pb2.Revocation | None = None,
    key_rotated: resources_pb2.VerificationKey | None = None,
    tenant_created: resources_pb2.Tenant | None = None,
) -> Record[events_pb2.IdentityEvent]:
    event = events_pb2.IdentityEvent(
        id=new_id("rec"),
        time=timestamp(now),
        token_revoked=token_revoked,
        key_rotated=key_rotated,
        tenant_created=tenant_created,
    )
    return Record(id=event.id, topic=EVENTS_TOPIC, key=tenant, tenant=tenant, message=event)
