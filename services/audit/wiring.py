"""Builds the audit service."""

from soma.audit.v1 import service_pb2_grpc

from mesh.policy.wiring import join_policy
from mesh.runtime.process import Process
from mesh.storage import Database
from mesh.trust.wiring import join_trust
from services.audit.config import Settings
from services.audit.domain.log import Log
from services.audit.handlers.records import Records
from services.audit.store import PostgresRecords


async def build(process: Process, settings: Settings) -> None:
    """Wire the process."""
    database = await process.enter(
        Database.open(
            settings.postgres_url,
            name=settings.name,
            largest=settings.audit_connections,
            start_seconds=settings.start_seconds,
        )
    )
    process.ready_when("postgres", database.ping)
    join_trust(process)
    log = Log(PostgresRecords(database), verify_batch=settings.audit_verify_batch)
    process.serve(
        service_pb2_grpc.add_RecordsServicer_to_server,
        Records(log=log, decisions=join_policy(process)),
        service="soma.audit.v1.Records",
        decides_itself=("GetRecord",),
    )
