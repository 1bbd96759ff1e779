"""Topics, and the access rules made from them."""

import importlib

import pytest
from google.protobuf import descriptor_pool

from mesh.events.admin import access_rules
from mesh.events.consumer import Consumer
from mesh.events.records import Record, header_values, seal
from mesh.events.topics import BY_NAME, TOPICS, Topic
from mesh.pki.workloads import WORKLOADS
from mesh.runtime.context import acting_for
from mesh.runtime.errors import ConfigurationError
from tests.unit.runtime.test_settings import settings


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topics_message_and_workloads_exist(topic: Topic) -> None:
    package = topic.message.rpartition(".")[0]
    for module in ("events_pb2", "resources_pb2"):
        try:
            importlib.import_module(f"{package}.{module}")
        except ModuleNotFoundError:
            continue
    assert descriptor_pool.Default().FindMessageTypeByName(topic.message)
    assert {*topic.writers, *topic.consumers} <= {workload.name for workload in WORKLOADS}


def test_rules_let_consumers_bury_and_nobody_else_write() -> None:
    rules = {(rule.workload, rule.name, rule.operation) for rule in access_rules()}
    assert ("worker-projections", "audit.records.dlq", 4) in rules
    assert ("worker-projections", "audit.records", 4) not in rules
    assert ("memory", "slm.requests", 4) not in rules
    assert ("worker-outbox", "slm.requests", 4) in rules


def test_every_group_belongs_to_one_workload() -> None:
    groups = {rule.name for rule in access_rules() if rule.resource == 3}
    assert groups == {reader for topic in TOPICS for reader in topic.consumers}


def test_a_sealed_record_carries_its_request_trace_and_tenant() -> None:
    from soma.orchestrator.v1 import events_pb2

    record = Record(topic="turns.events", key="ses_1", tenant="ten_a", message=events_pb2.TurnEnded())
    with acting_for(tenant="ten_a", request_id="req_9") as call:
        headers = header_values(seal(record).kafka_headers())
    assert headers == {
        "soma-record-id": record.id,
        "soma-tenant": "ten_a",
        "soma-request-id": "req_9",
        "traceparent": call.trace.header(),
    }


def test_headers_that_are_no_text_are_left_out() -> None:
    assert header_values([("a", b"\xff"), ("b", b"c")]) == {"b": "c"}


async def nothing(_record: object) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("topic", "group", "cause"),
    [
        ("no.such", "memory", "not in"),
        ("turns.events", "audit", "begin with"),
        ("audit.records", "memory", "carries"),
    ],
)
def test_a_consumer_that_cannot_work_is_not_made(topic: str, group: str, cause: str) -> None:
    from soma.orchestrator.v1 import events_pb2

    with pytest.raises(ConfigurationError, match=cause):
        Consumer(
            settings(),
            topic=topic,
            group=group,
            message_type=events_pb2.TurnEnded,
            handler=nothing,
        )


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(TOPICS)
