"""Records of a test's own, and a reader of dead letters."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence

from aiokafka import AIOKafkaConsumer
from soma.memory.v1 import events_pb2

from mesh.events.bus import Bus
from mesh.events.consumer import Consumer, Handler
from mesh.events.identity import KafkaIdentity
from mesh.events.records import Record, header_values
from mesh.runtime.settings import ProcessSettings
from mesh.storage import Database
from tests.support.servers import Servers

TOPIC = "memory.events"
Note = Record[events_pb2.MemoryEvent]


def settings(servers: Servers, workload: str) -> ProcessSettings:
    """The settings of a process that stands on the test's servers."""
    return ProcessSettings(
        workload=workload,
        listen="127.0.0.1:1",
        pki_dir=servers.pki / workload,
        kafka_bootstrap=servers.kafka,
        postgres_url=servers.postgres(workload.replace("-", "_")),
        start_seconds=30.0,
    )


def new_tenant() -> str:
    """A tenant that no other test uses."""
    return f"ten_{uuid.uuid4().hex}"


def notes(tenant: str, count: int, *, keys: int = 4) -> list[Note]:
    """Records of one tenant; record n has the key n mod `keys`."""
    return [
        Record(
            topic=TOPIC,
            key=f"{tenant}-{number % keys}",
            tenant=tenant,
            message=events_pb2.MemoryEvent(id=str(number)),
        )
        for number in range(count)
    ]


@contextlib.asynccontextmanager
async def opened_bus(servers: Servers) -> AsyncIterator[tuple[Bus, Database]]:
    """The bus and the database of the workload `memory`."""
    own = settings(servers, "memory")
    async with Database.open(own.postgres_url) as database, Bus.open(own, database) as bus:
        yield bus, database


@contextlib.asynccontextmanager
async def consuming(
    servers: Servers,
    handler: Handler[events_pb2.MemoryEvent],
    *,
    group: str,
    attempts: int = 3,
    max_in_flight: int = 16,
) -> AsyncIterator["Consumer[events_pb2.MemoryEvent]"]:
    """Run a consumer of the workload `worker-projections` until the block ends."""
    consumer = Consumer(
        settings(servers, "worker-projections"),
        topic=TOPIC,
        group=f"worker-projections-{group}",
        message_type=events_pb2.MemoryEvent,
        handler=handler,
        attempts=attempts,
        max_in_flight=max_in_flight,
    )
    running = asyncio.ensure_future(consumer.run())
    try:
        yield consumer
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def dead_letters(servers: Servers, tenant: str, count: int) -> Sequence[dict[str, str]]:
    """Return the headers of a tenant's dead letters, once there are `count`."""
    reader = AIOKafkaConsumer(
        f"{TOPIC}.dlq",
        bootstrap_servers=servers.kafka,
        security_protocol="SSL",
        ssl_context=KafkaIdentity(servers.pki / "supervisor").context,
        auto_offset_reset="earliest",
    )
    await reader.start()
    found: list[dict[str, str]] = []
    try:
        async with asyncio.timeout(20):
            while len(found) < count:
                headers = header_values((await reader.getone()).headers)
                if headers.get("soma-tenant") == tenant:
                    found.append(headers)
    finally:
        await reader.stop()
    return found
