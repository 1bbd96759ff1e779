"""Records that no consumer can use, records that come twice, groups that begin again from the first one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from mesh.events.identity import KafkaIdentity
from mesh.events.records import RECORD_ID, TENANT, header_values
from mesh.events.topics import BY_NAME, Topic
from tests.chaos.fault import Fault
from tests.support.stack import Stack, soma

LARGEST = 1024 * 1024 - 512
PATIENCE = 60.0
AGAIN = 8
LETTERS = 200
UNDECODABLE = b"\xff\xff\xff\xff poison \x00"


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its process, and the topic that it reads."""

    name: str
    process: str
    topic: str


GROUPS = (
    Group("worker-slm", "worker-slm", "slm.requests"),
    Group("orchestrator", "orchestrator", "slm.responses"),
    Group("worker-projections.audit", "worker-projections", "audit.records"),
    Group("worker-projections.memory", "worker-projections", "turns.events"),
)
CONSUMED = tuple(BY_NAME[group.topic] for group in GROUPS)


@contextlib.asynccontextmanager
async def producing(stack: Stack) -> AsyncIterator[AIOKafkaProducer]:
    """A producer with the rights of the broker's administrator."""
    identity = KafkaIdentity(stack.settings.home.pki / "supervisor")
    producer = AIOKafkaProducer(
        bootstrap_servers=stack.settings.ports.address("kafka"),
        security_protocol="SSL",
        ssl_context=identity.context,
        max_request_size=2 * LARGEST,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@contextlib.asynccontextmanager
async def consuming(stack: Stack, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer with the same rights; it joins no group."""
    identity = KafkaIdentity(stack.settings.home.pki / "supervisor")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.settings.ports.address("kafka"),
        security_protocol="SSL",
        ssl_context=identity.context,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def newest(stack: Stack, topic: str, *, most: int) -> list[ConsumerRecord[bytes, bytes]]:
    """The newest records that a topic holds now, so many of each partition."""
    async with consuming(stack) as consumer:
        partitions = [TopicPartition(topic, one) for one in sorted(await _partitions(consumer, topic))]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        firsts = await consumer.beginning_offsets(partitions)
        for one in partitions:
            consumer.seek(one, max(firsts[one], ends[one] - most))
        found: list[ConsumerRecord[bytes, bytes]] = []
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found


async def committed(stack: Stack, group: Group) -> bool:
    """Whether a group has done everything that its topic holds now."""
    async with consuming(stack, group.name) as consumer:
        partitions = [TopicPartition(group.topic, one) for one in await _partitions(consumer, group.topic)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        firsts = await consumer.beginning_offsets(partitions)
        done = {one: await consumer.committed(one) for one in partitions}
        return all((done[one] or firsts[one]) >= ends[one] for one in partitions)


async def poison(stack: Stack, value: bytes, topic: Topic, *, tenant: str = "") -> str:
    """Put a record into every partition of a topic; give the name that its headers carry."""
    name = f"poison-{uuid.uuid4().hex}"
    headers = [(RECORD_ID, name.encode()), (TENANT, tenant.encode())]
    async with producing(stack) as producer:
        for partition in range(topic.partitions):
            key = f"{name}-{partition}".encode()
            await producer.send_and_wait(topic.name, value, key=key, headers=headers, partition=partition)
    return name


async def buried(stack: Stack, topic: Topic, name: str) -> list[str]:
    """Wait until every poison record of a name lies among the dead letters; give the reasons."""
    async with asyncio.timeout(PATIENCE):
        while True:
            headers = [
                header_values(one.headers) for one in await newest(stack, topic.dead_letters, most=LETTERS)
            ]
            found = [one["soma-dlq-reason"] for one in headers if one.get(RECORD_ID) == name]
            if len(found) >= topic.partitions:
                return found
            await asyncio.sleep(0.5)


async def poison_a_topic(stack: Stack, choice: random.Random) -> None:
    """Put bytes that are no message, small or as large as the broker takes, into a topic."""
    topic = choice.choice(CONSUMED)
    value = UNDECODABLE + b"\xff" * choice.choice((0, 1000, LARGEST - len(UNDECODABLE) - 400))
    await buried(stack, topic, await poison(stack, value, topic))


async def send_again(stack: Stack, choice: random.Random, *, topic: Topic) -> None:
    """Send a topic's newest records a second time, bytes and headers and all."""
    records = await newest(stack, topic.name, most=AGAIN)
    async with producing(stack) as producer:
        for one in choice.sample(records, len(records)):
            await producer.send_and_wait(
                topic.name, one.value, key=one.key, headers=list(one.headers), partition=one.partition
            )


async def rewind(stack: Stack, _choice: random.Random, *, group: Group) -> None:
    """Stop a group's members, let it begin again from the first record, start them."""
    await soma(stack.settings, "down", group.process)
    try:
        async with consuming(stack, group.name) as consumer:
            partitions = [
                TopicPartition(group.topic, one) for one in await _partitions(consumer, group.topic)
            ]
            consumer.assign(partitions)
            firsts = await consumer.beginning_offsets(partitions)
            await consumer.commit({one: OffsetAndMetadata(firsts[one], "") for one in partitions})
    finally:
        await soma(stack.settings, "up", "--only", group.process)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.force_metadata_update()  # no public way to ask for partitions of a new topic
    found = consumer.partitions_for_topic(topic)
    if found is None:
        consumer._client.add_topic(topic)
        await consumer._client.force_metadata_update()
        found = consumer.partitions_for_topic(topic)
    return found or set()


FAULTS: tuple[Fault, ...] = (
    Fault(name="poison record", inject=poison_a_topic),
    *(
        Fault(name=f"send {one.name} again", inject=functools.partial(send_again, topic=one))
        for one in CONSUMED
    ),
    *(
        Fault(
            name=f"rewind {one.name}",
            inject=functools.partial(rewind, group=one),
            long_only=one.name not in ("orchestrator", "worker-projections.audit"),
        )
        for one in GROUPS
    ),
)
