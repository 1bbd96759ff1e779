"""Builds the outbox worker: one database role, one producer, two loops."""

from mesh.events.bus import Bus
from mesh.runtime.process import Process
from mesh.runtime.settings import ProcessSettings
from mesh.storage import Database
from workers.outbox.publisher import Publisher


async def build(process: Process, settings: ProcessSettings) -> None:
    """Wire the process."""
    database = await process.enter(
        Database.open(
            settings.postgres_url, name=settings.name, largest=3, start_seconds=settings.start_seconds
        )
    )
    bus = await process.enter(Bus.open(settings))
    published = process.meter.counter("soma_outbox_published", "Rows published late.", ("table",))
    failed = process.meter.counter("soma_outbox_failed", "Rows that could not be published.", ("table",))
    publisher = Publisher(
        database=database,
        bus=bus,
        published=lambda table, count: published.labels(table).inc(count),
        failed=lambda table, count: failed.labels(table).inc(count),
    )
    process.own(publisher.publish_for_ever(), name="publish")
    process.own(publisher.sweep_for_ever(), name="sweep")
    process.ready_when("postgres", database.ping)
    process.ready_when("kafka", bus.ping)
