"""What leaves the orchestrator through its outbox."""

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1 import resources_pb2 as audit_pb
from soma.orchestrator.v1 import events_pb2 as events_pb
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.slm.v1 import events_pb2 as slm_pb
from soma.slm.v1 import resources_pb2 as models_pb

from mesh.events.records import Record
from mesh.runtime.context import current
from mesh.runtime.ids import new_id
from services.orchestrator.domain.conversation import Turn
from services.orchestrator.domain.personas import BUILT_IN
from services.orchestrator.domain.remembering import worth_remembering

REQUESTS = "slm.requests"
TURNS = "turns.events"
AUDIT = "audit.records"


def timestamp(moment: datetime) -> Timestamp:
    """Convert a moment."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def generation(turn: Turn, request: slm_pb.GenerationRequest) -> Record[slm_pb.GenerationRequest]:
    """Ask a worker for the turn's answer."""
    return Record(id=request.id, topic=REQUESTS, key=turn.id, tenant=turn.tenant, message=request)


def turn_ended(
    turn: Turn, whole: pb.Turn, *, model: models_pb.Model, now: datetime
) -> Record[events_pb.TurnEnded]:
    """Tell that a turn ended; `model` is the one that answered."""
    record_id = f"{turn.id}-ended"
    persona = BUILT_IN.get(turn.persona)
    message = events_pb.TurnEnded(
        id=record_id,
        time=timestamp(now),
        subject=turn.subject,
        turn=whole,
        persona=turn.persona,
        remember=worth_remembering(turn, recalls=persona is not None and persona.recall, model=model),
    )
    return Record(id=record_id, topic=TURNS, key=turn.session_id, tenant=turn.tenant, message=message)


def audit(
    *,
    action: str,
    actor: str,
    resource: str,
    outcome: str,
    now: datetime,
    tenant: str,
    decision_id: str = "",
    policy_version: int = 0,
    details: Mapping[str, str] | None = None,
    record_id: str = "",
) -> Record[audit_pb.AuditRecord]:
    """Record what was done; facts only, no content."""
    identity = record_id or new_id("aud")
    message = audit_pb.AuditRecord(
        id=identity,
        tenant=tenant,
        time=timestamp(now),
        action=action,
        actor=actor,
        resource=resource,
        outcome=outcome,
        decision_id=decision_id,
        policy_version=policy_version,
        request_id=current().request_id,
        details=dict(details or {}),
    )
    return Record(id=identity, topic=AUDIT, key=tenant, tenant=tenant, message=message)
