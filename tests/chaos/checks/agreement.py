"""I7: three stores tell one story."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from soma.audit.v1.resources_pb2 import AuditRecord
from soma.memory.v1.events_pb2 import MemoryEvent
from soma.orchestrator.v1.events_pb2 import TurnEnded
from soma.slm.v1.events_pb2 import GenerationResponse

from tests.chaos.checks.effects import CREATED_BY
from tests.chaos.checks.streams import REFUSED, RUNNING
from tests.chaos.held import Held, Published, Row, Violation
from tests.chaos.journal import Story

GENESIS = bytes(32)
DOMAIN = b"soma.audit.v1.ChainedRecord\x00"


def i7_the_stores_agree(story: Story, held: Held) -> Iterator[Violation]:
    """I7 Postgres, Kafka and audit agree in count and content.

    Every row of an outbox was published with its bytes; every audit record of a topic is in its tenant's
    chain with its content, and the other way round; the chain is whole and its RPCs tell the same. Every
    row has the record of its creation, and every such record its row; every ended turn has its event
    with the text, the usage and the state of its row; every memory its event; the vector store holds the
    points of the rows, and no dead letter is the run's.
    """
    yield from (_i7(what) for what in _unfinished(held))
    yield from (_i7(what) for what in _outboxes(held))
    yield from (_i7(what) for what in _audit(held))
    for tenant in sorted(story.tenants):
        yield from (_i7(what) for what in _chain(tenant, held))
    yield from (_i7(what) for what in _creations(held))
    yield from (_i7(what) for what in _turns(held))
    yield from (_i7(what) for what in _memories(held))
    yield from (_i7(what) for what in _points(held))


def _unfinished(held: Held) -> Iterator[str]:
    yield from (f"not drained: {what}" for what in held.unfinished)
    for record in held.records:
        if record.topic.endswith(".dlq"):
            yield f"record {record.id} of {record.tenant} is in {record.topic}"


def _outboxes(held: Held) -> Iterator[str]:
    published = {(record.topic, record.id): record for record in held.records}
    for row in held.outbox:
        record = published.get((row["topic"], row["id"]))
        if record is None:
            yield f"row {row['id']} of {row['schema']}.outbox is in no topic"
        elif (record.value, record.key, record.tenant) != (row["payload"], row["key"], row["tenant"]):
            yield f"record {record.id} in {record.topic} is not what {row['schema']}.outbox holds"
        if row["published_at"] is None:
            yield f"row {row['id']} of {row['schema']}.outbox is not marked as published"


def _audit(held: Held) -> Iterator[str]:
    topic = {record.id: record for record in held.of_topic("audit.records")}
    chained = {row["id"]: row for row in held.audit}
    for identity in topic.keys() - chained.keys():
        yield f"audit record {identity} is in Kafka and in no chain"
    for identity in chained.keys() - topic.keys():
        yield f"audit record {identity} is in a chain and not in Kafka"
    for identity in topic.keys() & chained.keys():
        if AuditRecord.FromString(topic[identity].value) != AuditRecord.FromString(
            chained[identity]["record"]
        ):
            yield f"audit record {identity} has two contents"


def _chain(tenant: str, held: Held) -> Iterator[str]:
    rows = sorted((row for row in held.audit if row["tenant"] == tenant), key=lambda row: int(row["index"]))
    head = GENESIS
    for place, row in enumerate(rows, start=1):
        right = hashlib.sha256(DOMAIN + head + row["record"]).digest()
        if (row["index"], row["previous_hash"], row["hash"]) != (place, head, right):
            yield f"the chain of {tenant} is broken at {place}"
            break
        head = right
    for chain in held.chains:
        if chain.tenant == tenant and not (chain.valid and chain.count == len(rows)):
            yield f"audit says of {tenant}: valid {chain.valid}, {chain.count} of {len(rows)} records"
        if chain.tenant == tenant and chain.ids != tuple(row["id"] for row in rows):
            yield f"audit lists other records of {tenant} than are stored"


def _creations(held: Held) -> Iterator[str]:
    recorded: dict[str, set[str]] = {}
    for row in held.audit:
        recorded.setdefault(row["action"], set()).add(row["resource"])
    forgotten = recorded.get("memories.forget", set())
    of_turns = recorded.get("memories.remember_turn", set())
    standing: dict[str, Iterable[Row]] = {
        "session": held.sessions, "turn": held.turns, "document": held.documents, "key": held.keys,
    }  # fmt: skip
    for kind, rows in standing.items():
        yield from _same(kind, {row["id"] for row in rows}, recorded.get(CREATED_BY[kind], set()))
    said = recorded.get(CREATED_BY["memory"], set()) | of_turns
    yield from _same("memory", {row["id"] for row in held.memories}, said - forgotten)


def _same(kind: str, rows: set[str], recorded: set[str]) -> Iterator[str]:
    yield from (f"{kind} {one} has no audit record of its creation" for one in sorted(rows - recorded))
    yield from (f"{kind} {one} is in the audit and in no row" for one in sorted(recorded - rows))


def _turns(held: Held) -> Iterator[str]:
    told = by_turn(held.of_topic("turns.events"))
    asked = {record.key for record in held.of_topic("slm.requests")}
    answered: dict[str, list[GenerationResponse]] = {}
    for record in held.of_topic("slm.responses"):
        answered.setdefault(record.key, []).append(GenerationResponse.FromString(record.value))
    rows = {row["id"]: row for row in held.turns}
    for turn in rows.values():
        if turn["state"] == REFUSED:
            continue
        if turn["id"] not in asked:
            yield f"turn {turn['id']} has no request in Kafka"
        if turn["state"] == RUNNING:
            continue
        event = told.get(turn["id"])
        if event is None:
            yield f"turn {turn['id']} ended, and no event tells of it"
        elif not _says(event, turn):
            yield f"turn {turn['id']}: its event tells another end than its row"
        if any(_differs(one, turn) for one in answered.get(turn["id"], [])):
            yield f"turn {turn['id']}: its worker told another text than is stored"
    for kind, names in (("request", asked), ("event", set(told)), ("response", set(answered))):
        yield from (f"turn {one} has a {kind} in Kafka and no row" for one in sorted(names - rows.keys()))
    yield from _charges(held, rows)


def _charges(held: Held, rows: dict[str, Row]) -> Iterator[str]:
    for row in held.audit:
        if row["action"] != "turns.end" or row["resource"] not in rows:
            continue
        details, turn = AuditRecord.FromString(row["record"]).details, rows[row["resource"]]
        charged = (details["input_tokens"], details["output_tokens"])
        if charged != (str(turn["input_tokens"]), str(turn["output_tokens"])):
            yield f"turn {turn['id']}: {charged} tokens were recorded, its row has others"


def by_turn(records: Iterable[Published]) -> dict[str, TurnEnded]:
    """The events of turns, by turn."""
    events = (TurnEnded.FromString(record.value) for record in records)
    return {event.turn.id: event for event in events}


def _says(event: TurnEnded, row: Row) -> bool:
    turn = event.turn
    return (
        (turn.text, turn.state, turn.number, turn.session_id)
        == (row["text"], row["state"], row["number"], row["session_id"])
        and (turn.usage.input_tokens, turn.usage.output_tokens) == (row["input_tokens"], row["output_tokens"])
        and turn.input.text == row["input"]
    )


def _differs(response: GenerationResponse, row: Row) -> bool:
    return bool(response.text != row["text"] or list(response.delta_lengths) != list(row["delta_lengths"]))


def _memories(held: Held) -> Iterator[str]:
    events = [MemoryEvent.FromString(record.value) for record in held.of_topic("memory.events")]
    unique = {event.id: event for event in events}.values()
    texts = {e.remembered.id: e.remembered.text for e in unique if e.HasField("remembered")}
    gone = {e.forgotten.id for e in unique if e.HasField("forgotten")}
    rows = {row["id"]: row["text"] for row in held.memories}
    for identity in sorted((texts.keys() - gone) ^ rows.keys()):
        where = "in Kafka and in no row" if identity in texts else "in a row and not in Kafka"
        yield f"memory {identity} is {where}"
    for identity in sorted(texts.keys() & rows.keys()):
        if texts[identity] != rows[identity]:
            yield f"memory {identity} was told with another text than is stored"
    counts = Counter(e.ingested.id for e in unique if e.HasField("ingested"))
    for document in held.documents:
        if not counts[document["id"]]:
            yield f"document {document['id']} has no event"


def _points(held: Held) -> Iterator[str]:
    for collection, rows in (("memories", held.memories), ("passages", held.passages)):
        wanted = {row["id"] for row in rows}
        found = {point.id for point in held.points if point.collection == collection}
        yield from (f"{one} has no point among {collection}" for one in sorted(wanted - found))
        yield from (
            f"a point among {collection} stands for {one}, which is gone" for one in sorted(found - wanted)
        )


def _i7(what: str) -> Violation:
    return Violation(invariant="I7", what=what)
