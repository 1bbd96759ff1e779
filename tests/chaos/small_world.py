"""A small journal and what a platform without a fault holds after it: for the tests of the checker.

One tenant with one session, one streamed turn over two connections, one memory, one key; a second tenant
that has nothing but its canary.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from soma.audit.v1.resources_pb2 import AuditRecord
from soma.memory.v1 import events_pb2 as memory_pb
from soma.memory.v1.resources_pb2 import Memory
from soma.orchestrator.v1 import events_pb2, resources_pb2
from soma.slm.v1 import events_pb2 as slm_pb

from tests.chaos.checks.agreement import DOMAIN, GENESIS
from tests.chaos.held import Chain, Held, Point, Published, Row
from tests.chaos.journal import Json, Story, story_of

TENANT, STRANGER = f"tnt_{1:032x}", f"tnt_{2:032x}"
CANARY, OTHERS = "canary00000000n00", "canary00000000n01"
SESSION, TURN, MEMORY, KEY = (f"{kind}_{1:032x}" for kind in ("ses", "trn", "mem", "key"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARTS = ("Once ", "upon ", "a time.")
TEXT = "".join(PARTS)
TITLE, INPUT, NOTE, NAME = (f"{CANARY} request-{number}" for number in range(4))


def lines() -> list[Json]:
    """The journal, line by line: change some before `story_of`."""
    events = stream_events()
    return [
        {"at": "run", "seed": 1, "owners": [{"tenant": TENANT, "canary": CANARY},
                                            {"tenant": STRANGER, "canary": OTHERS}]},
        *_asked("op-0", "session.create", 0, TITLE, {"id": SESSION}),
        _sent("op-1", "turn.stream", 1, INPUT),
        {"at": "connected", "op": "op-1", "from_seq": 0},
        *({"at": "event", "op": "op-1", "event": event} for event in events[:3]),
        {"at": "broken", "op": "op-1", "cause": "ClientPayloadError"},
        {"at": "connected", "op": "op-1", "from_seq": 3},
        *({"at": "event", "op": "op-1", "event": event} for event in [{"ping": {}}, *events[3:]]),
        {"at": "answered", "op": "op-1", "outcome": "ok", "status": 200, "answer": None},
        *_asked("op-2", "memory.remember", 2, NOTE, {"id": MEMORY, "text": NOTE}),
        *_asked("op-3", "key.create", 3, NAME, {"api_key": {"id": KEY}}),
    ]  # fmt: skip


def stream_events() -> list[Json]:
    """The stream as a client has it."""
    deltas = [{"seq": str(place), "delta": {"text": part}} for place, part in enumerate(PARTS, start=1)]
    end = {"seq": "4", "completed": {"finish_reason": "stop"}}
    return [{"seq": "0", "accepted": {"turn_id": TURN, "session_id": SESSION}}, *deltas, end]


def _sent(op: str, kind: str, number: int, words: str) -> Json:
    return {"at": "sent", "op": op, "tenant": TENANT, "kind": kind, "asked": {"words": words},
            "request_id": f"request-{number}"}  # fmt: skip


def _asked(op: str, kind: str, number: int, words: str, answer: Json) -> list[Json]:
    told = {"at": "answered", "op": op, "outcome": "ok", "status": 200, "answer": answer}
    return [_sent(op, kind, number, words), told]


def story(changed: Iterable[Json] | None = None) -> Story:
    """The journal, read."""
    return story_of(copy.deepcopy(list(lines() if changed is None else changed)))


def audit_record(
    number: int, action: str, resource: str, outcome: str = "allowed", **details: str
) -> AuditRecord:
    """A record of something that was done under decision 7 of version 1."""
    record = AuditRecord(
        id=f"aud_{number:032x}", tenant=TENANT, action=action, resource=resource, outcome=outcome,
        decision_id="dec_7", policy_version=1, details=details,
    )  # fmt: skip
    record.time.FromDatetime(NOW)
    return record


def records() -> list[AuditRecord]:
    """Every record of the world."""
    return [
        audit_record(1, "sessions.create", SESSION),
        audit_record(2, "turns.create", TURN),
        audit_record(3, "turns.end", TURN, "completed", input_tokens="5", output_tokens="3"),
        audit_record(4, "memories.remember", MEMORY, "completed"),
        audit_record(5, "keys.create", KEY, "completed"),
    ]


def chained(some: Sequence[AuditRecord]) -> list[Row]:
    """A chain of records as its table holds it."""
    rows: list[Row] = []
    head = GENESIS
    for index, record in enumerate(some, start=1):
        raw = record.SerializeToString(deterministic=True)
        following = hashlib.sha256(DOMAIN + head + raw).digest()
        rows.append(
            {"tenant": TENANT, "index": index, "id": record.id, "action": record.action,
             "resource": record.resource, "record": raw, "hash": following, "previous_hash": head}
        )  # fmt: skip
        head = following
    return rows


def published(topic: str, identity: str, key: str, message: Message) -> Published:
    """A record of a topic."""
    return Published(
        topic=topic, partition=0, offset=0, key=key, tenant=TENANT, id=identity,
        value=message.SerializeToString(deterministic=True),
    )  # fmt: skip


def topics(some: Sequence[AuditRecord]) -> list[Published]:
    """What Kafka holds."""
    turn = resources_pb2.Turn(
        id=TURN, session_id=SESSION, number=1, state=resources_pb2.TURN_STATE_COMPLETED,
        input=resources_pb2.Input(text=INPUT), text=TEXT,
        usage=resources_pb2.Usage(input_tokens=5, output_tokens=3),
    )  # fmt: skip
    memory = memory_pb.MemoryEvent(id="evt_1", remembered=Memory(id=MEMORY, text=NOTE))
    response = slm_pb.GenerationResponse(turn_id=TURN, text=TEXT, delta_lengths=map(len, PARTS))
    return [
        *(published("audit.records", one.id, TENANT, one) for one in some),
        published("slm.requests", "gen_1", TURN, slm_pb.GenerationRequest(id="gen_1", prompt=INPUT)),
        published("slm.responses", "res_1", TURN, response),
        published("turns.events", f"{TURN}-ended", SESSION, events_pb2.TurnEnded(turn=turn)),
        published("memory.events", "evt_1", TENANT, memory),
    ]


def outbox(some: Iterable[Published]) -> list[Row]:
    """The rows from which records were published; what workers send has none."""
    return [
        {"schema": "orchestrator", "id": one.id, "topic": one.topic, "key": one.key, "tenant": one.tenant,
         "payload": one.value, "published_at": NOW}
        for one in some if one.topic != "slm.responses"
    ]  # fmt: skip


def log() -> list[tuple[int, bytes]]:
    """The turn's log in Redis."""
    accepted = resources_pb2.Accepted(turn_id=TURN, session_id=SESSION)
    events = [resources_pb2.TurnEvent(seq=0, accepted=accepted)]
    events += [
        resources_pb2.TurnEvent(seq=place, delta=resources_pb2.Delta(text=part))
        for place, part in enumerate(PARTS, start=1)
    ]
    completed = resources_pb2.Completed(finish_reason="stop")
    events.append(resources_pb2.TurnEvent(seq=4, completed=completed))
    return [(event.seq, event.SerializeToString()) for event in events]


def held(**changed: Any) -> Held:
    """Everything, with some of it as given."""
    audit = records()
    kafka = topics(audit)
    turn = {
        "id": TURN, "tenant": TENANT, "session_id": SESSION, "number": 1, "state": 2, "input": INPUT,
        "text": TEXT, "input_tokens": 5, "output_tokens": 3, "decision_id": "dec_7", "policy_version": 1,
        "opening": [log()[0][1]], "delta_lengths": [len(part) for part in PARTS], "create_time": NOW,
        "request_id": "request-1",
    }  # fmt: skip
    whole: dict[str, Any] = {
        "sessions": [{"id": SESSION, "tenant": TENANT, "request_id": "request-0", "turn_count": 1,
                      "display_name": TITLE}],
        "turns": [turn],
        "memories": [{"id": MEMORY, "tenant": TENANT, "text": NOTE, "turn_id": None}],
        "requests": [{"tenant": TENANT, "request_id": "request-2", "resource_id": MEMORY}],
        "keys": [{"id": KEY, "tenant": TENANT, "request_id": "request-3", "display_name": NAME}],
        "outbox": outbox(kafka),
        "audit": chained(audit),
        "chains": [Chain(tenant=TENANT, valid=True, count=len(audit), ids=tuple(one.id for one in audit))],
        "records": kafka,
        "logs": {TURN: log()},
        "points": [Point(collection="memories", id=MEMORY, tenant=TENANT)],
        "versions": frozenset({1}),
    }  # fmt: skip
    return Held(**(whole | changed))


def without(rows: Sequence[Row], **equal: Any) -> list[Row]:
    """The rows that do not hold these values."""
    return [row for row in rows if any(row[name] != value for name, value in equal.items())]


def with_(rows: Sequence[Row], **changed: Any) -> list[Row]:
    """The rows with other values."""
    return [{**row, **changed} for row in rows]
