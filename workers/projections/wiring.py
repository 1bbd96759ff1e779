"""Builds the projections worker: one consumer for each topic."""

from soma.audit.v1.resources_pb2 import AuditRecord
from soma.orchestrator.v1.events_pb2 import TurnEnded

from mesh.events.consumer import Consumer
from mesh.runtime.process import Process
from workers.projections.audit import AuditProjection
from workers.projections.config import Settings
from workers.projections.memories import MemoryProjection


async def build(process: Process, settings: Settings) -> None:
    """Wire the process."""
    audit = AuditProjection(process.channel("audit"), batch=settings.projections_audit_batch)
    memories = MemoryProjection(process.channel("memory"))
    records = Consumer(
        settings,
        topic="audit.records",
        group="worker-projections.audit",
        message_type=AuditRecord,
        handler=audit.handle,
        max_in_flight=settings.projections_audit_in_flight,
        attempts=settings.projections_attempts,
        ordered=False,
        tracer=process.tracer,
    )
    turns = Consumer(
        settings,
        topic="turns.events",
        group="worker-projections.memory",
        message_type=TurnEnded,
        handler=memories.handle,
        max_in_flight=settings.projections_memory_in_flight,
        attempts=settings.projections_attempts,
        tracer=process.tracer,
    )
    process.own(records.run(), name="audit")
    process.own(turns.run(), name="memory")
    process.ready_when("audit.records", records.ping)
    process.ready_when("turns.events", turns.ping)
