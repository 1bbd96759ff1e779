"""The servers' own protocols, as their administrator: Postgres, Kafka, vectors.

Connections only; what is read by them stands in `holdings.py`. Nothing here goes through a service.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from qdrant_client import AsyncQdrantClient, models

from mesh.events.identity import KafkaIdentity
from mesh.events.topics import TOPICS
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings

SUPERUSER = "postgres"
OPERATOR = "supervisor"
PAGE = 1000


async def bounds(reader: AIOKafkaConsumer) -> dict[TopicPartition, tuple[int, int]]:
    """Where each partition that holds something begins and ends."""
    places = [
        TopicPartition(name, partition)
        for topic in TOPICS
        for name in (topic.name, topic.dead_letters)
        for partition in sorted(reader.partitions_for_topic(name) or ())
    ]
    first, last = await reader.beginning_offsets(places), await reader.end_offsets(places)
    return {place: (first[place], last[place]) for place in places if last[place] > first[place]}


async def ends_now(settings: StackSettings) -> dict[TopicPartition, int]:
    """Where every topic ends: what a run writes comes after."""
    async with consumer(settings) as reader:
        return {place: end for place, (_, end) in (await bounds(reader)).items()}


async def all_records(reader: AIOKafkaConsumer, since: Mapping[TopicPartition, int]) -> AsyncIterator[Any]:
    """Every record of every topic up to where it ends now, but for those before `since`."""
    ends = await bounds(reader)
    left = {place: end for place, (_, end) in ends.items() if since.get(place, 0) < end}
    reader.assign(list(left))
    for place in left:
        reader.seek(place, max(since.get(place, 0), ends[place][0]))
    while left:
        for records in (await reader.getmany(*left, timeout_ms=1000)).values():
            for record in records:
                yield record
        for place in list(left):
            if await reader.position(place) >= left[place]:
                del left[place]


@asynccontextmanager
async def postgres(settings: StackSettings) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the superuser: row-level security does not hold for it."""
    connection = await asyncpg.connect(Environment(settings).postgres_url(SUPERUSER), timeout=30)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def consumer(settings: StackSettings) -> AsyncIterator[AIOKafkaConsumer]:
    """A reader of every topic, in no group."""
    topics = [name for topic in TOPICS for name in (topic.name, topic.dead_letters)]
    reader = AIOKafkaConsumer(
        bootstrap_servers=settings.ports.address("kafka"), security_protocol="SSL",
        ssl_context=_tls(settings.home.pki), client_id="chaos", enable_auto_commit=False,
    )  # fmt: skip
    await reader.start()
    try:
        await reader._client.set_topics(topics)
        yield reader
    finally:
        await reader.stop()


@asynccontextmanager
async def admin(settings: StackSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administrator of the broker."""
    client = AIOKafkaAdminClient(
        bootstrap_servers=settings.ports.address("kafka"), security_protocol="SSL",
        ssl_context=_tls(settings.home.pki), client_id="chaos",
    )  # fmt: skip
    await client.start()
    try:
        yield client
    finally:
        await client.close()


def _tls(pki: Path) -> Any:
    return KafkaIdentity(pki / OPERATOR).context


async def all_points(settings: StackSettings) -> AsyncIterator[tuple[str, models.Record]]:
    """Every point of every collection, with its collection."""
    host, _, port = settings.ports.address("vectors").partition(":")
    client = AsyncQdrantClient(
        host=host, grpc_port=int(port), prefer_grpc=True, https=False, timeout=30,
        headers={"api-key": Environment(settings).vectors_key()}, check_compatibility=False,
    )  # fmt: skip
    try:
        for one in (await client.get_collections()).collections:
            offset: Any = None
            while True:
                rows, offset = await client.scroll(one.name, limit=PAGE, offset=offset)
                for row in rows:
                    yield one.name, row
                if offset is None:
                    break
    finally:
        await client.close()
