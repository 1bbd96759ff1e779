"""`python -m mesh.events.admin`: topics and access rules of the broker, from `mesh.events.topics`.

Safe to run again: what exists stays, missing partitions are added. Runs with
the certificate of the workload `supervisor`, a superuser of the broker.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.protocol.admin import CreateAclsRequest

from mesh.events.bus import LOST
from mesh.events.identity import KafkaIdentity
from mesh.events.topics import TOPICS
from mesh.runtime.errors import ConfigurationError, DependencyDown
from mesh.runtime.waiting import until_up

# Kafka's protocol: org.apache.kafka.common.{resource.ResourceType, acl.AclOperation, ...}
_TOPIC, _GROUP, _CLUSTER = 2, 3, 4
_READ, _WRITE, _DESCRIBE, _IDEMPOTENT_WRITE = 3, 4, 8, 12
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3
_CLUSTER_NAME: Final = "kafka-cluster"
_DLQ_PARTITIONS: Final = 1
_DLQ_HOURS: Final = 30 * 24


@dataclass(frozen=True, slots=True)
class Acl:
    """One access rule: `workload` may do `operation` on a resource."""

    workload: str
    resource: int
    name: str
    operation: int
    pattern: int = _LITERAL


def access_rules() -> list[Acl]:
    """Return every rule: who writes, who reads, and in which groups."""
    return sorted(set(_rules()), key=lambda rule: (rule.workload, rule.resource, rule.name))


def _rules() -> Iterator[Acl]:
    for topic in TOPICS:
        for writer in topic.writers:
            yield Acl(writer, _TOPIC, topic.name, _WRITE)
            yield Acl(writer, _TOPIC, topic.name, _DESCRIBE)
            yield Acl(writer, _CLUSTER, _CLUSTER_NAME, _IDEMPOTENT_WRITE)
        for reader in topic.consumers:
            yield Acl(reader, _TOPIC, topic.name, _READ)
            yield Acl(reader, _TOPIC, topic.dead_letters, _WRITE)
            yield Acl(reader, _TOPIC, topic.dead_letters, _DESCRIBE)
            yield Acl(reader, _CLUSTER, _CLUSTER_NAME, _IDEMPOTENT_WRITE)
            # A group belongs to the workload whose name it begins with.
            yield Acl(reader, _GROUP, reader, _READ, _PREFIXED)


async def make(bootstrap: str, folder: Path) -> None:
    """Create topics and rules.

    Raises:
        mesh.runtime.errors.DependencyDown: the broker does not answer.
        KafkaError: it refuses.
    """
    context = KafkaIdentity(folder).context

    async def connect() -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=bootstrap, security_protocol="SSL", ssl_context=context,
            client_id="soma-admin",
        )  # fmt: skip
        try:
            await admin.start()
        except BaseException:
            await admin.close()
            raise
        return admin

    admin = await until_up("kafka", connect, retry_on=LOST, seconds=30)
    try:
        await _topics(admin)
        await asyncio.gather(*(_allow(admin, rule) for rule in access_rules()))
    finally:
        await admin.close()


async def _topics(admin: AIOKafkaAdminClient) -> None:
    wanted = {
        name: (partitions, hours)
        for topic in TOPICS
        for name, partitions, hours in (
            (topic.name, topic.partitions, topic.retention_hours),
            (topic.dead_letters, _DLQ_PARTITIONS, _DLQ_HOURS),
        )
    }
    existing = set(await admin.list_topics())
    new = [
        NewTopic(name, partitions, 1, topic_configs={"retention.ms": str(hours * 3_600_000)})
        for name, (partitions, hours) in wanted.items()
        if name not in existing
    ]
    if new:
        created = await admin.create_topics(new)
        for name, code, *_ in created.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise for_code(code)(f"topic {name}")
    described = await admin.describe_topics(sorted(existing & set(wanted)))
    grown = {
        found["topic"]: NewPartitions(wanted[found["topic"]][0])
        for found in described
        if len(found["partitions"]) < wanted[found["topic"]][0]
    }
    if grown:
        await admin.create_partitions(grown)


async def _allow(admin: AIOKafkaAdminClient, rule: Acl) -> None:
    request = CreateAclsRequest(
        rule.resource, rule.name, rule.pattern,
        f"User:{rule.workload}", "*", rule.operation, _ALLOW,
    )  # fmt: skip
    # aiokafka has the request and no method for it.
    answer = await admin._send_request(request)  # noqa: SLF001
    for code, message in answer.creation_responses:
        if code:
            raise for_code(code)(message or str(rule))


def main() -> int:
    """Run the command; a failure is one line on stderr and exit code 1."""
    try:
        bootstrap = os.environ["SOMA_KAFKA_BOOTSTRAP"]
        folder = Path(os.environ["SOMA_PKI_DIR"])
    except KeyError as error:
        print(f"topics: {error} is not set", file=sys.stderr)
        return 1
    try:
        asyncio.run(make(bootstrap, folder))
    except (ConfigurationError, DependencyDown, KafkaError) as error:
        print(f"topics: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"{len(TOPICS)} topics, each with its dead letters; {len(access_rules())} access rules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
