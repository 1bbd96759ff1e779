"""Audit records of the questions that were asked, through the outbox.

The outbox worker publishes them. This service does so for no record itself: a broker that is down must not
keep it from streaming the bundle without which every other service refuses.
"""

from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1.resources_pb2 import AuditRecord

from mesh.events import outbox
from mesh.events.records import Record
from mesh.policy import Decision
from mesh.runtime.clock import Clock
from mesh.runtime.context import current
from mesh.runtime.errors import Unavailable
from mesh.runtime.ids import new_id
from mesh.runtime.logging import get_logger
from mesh.storage import Database
from services.policy.domain.questions import Question

TOPIC = "audit.records"
_log = get_logger(__name__)


class AuditTrail:
    """Writes one record for each answered question; without it there is no answer."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        """Take the outbox's database and the time."""
        self._database = database
        self._clock = clock

    async def record(self, asked: str, question: Question, decision: Decision) -> None:
        """Record that a question was asked; `asked` is the action of asking.

        Raises:
            Unavailable: the record could not be written (AUDIT_UNAVAILABLE).
        """
        message = _message(asked, question, decision)
        message.time.CopyFrom(_timestamp(self._clock))
        tenant = question.principal.tenant
        record = Record(id=message.id, topic=TOPIC, key=tenant, tenant=tenant, message=message)
        try:
            async with self._database.transaction(tenant=tenant) as connection:
                await outbox.put(connection, record)
        except Exception as error:
            _log.error("audit record not written", cause=f"{type(error).__name__}: {error}")
            raise Unavailable(
                "AUDIT_UNAVAILABLE", "the audit record could not be written", retry_after=1.0
            ) from error


def _message(asked: str, question: Question, decision: Decision) -> AuditRecord:
    return AuditRecord(
        id=new_id("aud"),
        tenant=question.principal.tenant,
        action=asked,
        actor=question.principal.subject,
        resource=question.action,
        outcome="allowed" if decision.allowed else "denied",
        decision_id=decision.id,
        policy_version=decision.policy_version,
        request_id=current().request_id,
        # Names only: what an attribute says may be somebody's secret.
        details={"rule": decision.rule_id, "attributes": ",".join(sorted(question.attributes))[:1024]},
    )


def _timestamp(clock: Clock) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(clock.now())
    return stamp
