"""A session and the record that tells of it are one statement, on a real Postgres."""

import asyncio
import uuid
from datetime import UTC, datetime

from soma.audit.v1.resources_pb2 import AuditRecord

from mesh.events.records import Envelope, Record, seal
from mesh.runtime.ids import new_id
from mesh.storage import Database
from services.orchestrator import store
from services.orchestrator.domain.conversation import Session
from tests.support.servers import Servers


def of(tenant: str) -> tuple[Session, Envelope]:
    now = datetime.now(UTC)
    session = Session(
        id=new_id("ses"), tenant=tenant, persona="guide", display_name="", turn_count=0,
        create_time=now, update_time=now,
    )  # fmt: skip
    message = AuditRecord(id=new_id("aud"), tenant=tenant, resource=session.id)
    return session, seal(
        Record(id=message.id, topic="audit.records", key=tenant, tenant=tenant, message=message)
    )


async def test_repeats_at_once_make_one_session_and_one_record(servers: Servers) -> None:
    tenant = f"ten_{uuid.uuid4().hex}"
    made = [of(tenant) for _ in range(6)]
    async with Database.open(servers.postgres("orchestrator")) as database:

        async def create(session: Session, leaving: Envelope) -> bool:
            async with database.transaction(tenant=tenant) as connection:
                return await store.insert_session(
                    connection, session, request_id="r-1", request_digest=b"d", leaving=leaving
                )

        created = await asyncio.gather(*(create(*each) for each in made))
        assert sum(created) == 1
        session, leaving = made[created.index(True)]
        async with database.transaction(tenant=tenant) as connection:
            assert await store.session(connection, session.id) == session
            assert await store.session_of_request(connection, "r-1") == (session, b"d")
            rows = await connection.fetch("select id, payload from outbox where tenant = $1", tenant)
        assert [(row["id"], row["payload"]) for row in rows] == [(leaving.id, leaving.payload)]
