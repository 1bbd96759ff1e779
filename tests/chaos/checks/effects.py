"""I1, I2, I3: what was told, and what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from soma.audit.v1.resources_pb2 import AuditRecord
from soma.orchestrator.v1.events_pb2 import TurnEnded

from tests.chaos.held import Held, Published, Row, Violation
from tests.chaos.journal import Operation, Outcome, Story

KINDS = {
    "session.create": "session",
    "turn.stream": "turn",
    "turn.whole": "turn",
    "turn.chat": "turn",
    "memory.remember": "memory",
    "document.ingest": "document",
    "key.create": "key",
}
CREATED_BY = {
    "session": "sessions.create",
    "turn": "turns.create",
    "memory": "memories.remember",
    "document": "documents.ingest",
    "key": "keys.create",
}
ONCE = {
    *(action for kind, action in CREATED_BY.items() if kind != "document"),  # a document has versions
    *("turns.end", "memories.remember_turn", "memories.forget"),
}
Requested = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that a request made."""

    kind: str
    tenant: str
    request_id: str
    resource: str
    words: str
    """What its user wrote; empty where that is gone."""


def effects(held: Held) -> list[Effect]:
    """Everything that requests made and that is there, or was before it was forgotten."""
    found = [_effect("session", row, str(row["display_name"])) for row in held.sessions]
    found += [_effect("turn", row, str(row["input"])) for row in held.turns]
    found += [_effect("key", row, str(row["display_name"])) for row in held.keys]
    found += [_effect("document", row, str(row["title"])) for row in held.documents]
    texts = {row["id"]: str(row["text"]) for row in held.memories}
    for row in held.requests:
        resource = str(row["resource_id"])
        if resource.startswith("mem_"):
            found.append(
                Effect(
                    kind="memory", tenant=row["tenant"], request_id=row["request_id"],
                    resource=resource, words=texts.get(resource, ""),
                )
            )  # fmt: skip
    return found


def _effect(kind: str, row: Row, words: str) -> Effect:
    return Effect(
        kind=kind, tenant=row["tenant"], request_id=row["request_id"], resource=row["id"], words=words
    )


def requested(story: Story) -> dict[Requested, list[Operation]]:
    """All attempts of each request that makes something, by what it makes, tenant and request id."""
    found: dict[Requested, list[Operation]] = {}
    for one in story.of(*KINDS):
        found.setdefault((KINDS[one.kind], one.tenant, one.request_id), []).append(one)
    return found


def told(operation: Operation) -> str:
    """The id that the answer named; empty where none came."""
    if operation.kind == "turn.stream":
        events = [event for each in operation.connections for event in each.events]
        return next((str(e["accepted"]["turn_id"]) for e in events if "accepted" in e), "")
    answer = operation.answer if isinstance(operation.answer, dict) else {}
    if operation.kind == "turn.chat":
        return str(answer.get("soma", {}).get("turn_id", ""))
    return str(answer.get("api_key", answer).get("id", ""))


def _made(held: Held) -> dict[Requested, list[Effect]]:
    made: dict[Requested, list[Effect]] = {}
    for one in effects(held):
        made.setdefault((one.kind, one.tenant, one.request_id), []).append(one)
    return made


def _forgotten(story: Story) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    for one in story.of("memory.forget"):
        found.setdefault(str(one.asked["memory_id"]), []).append(one)
    return found


def i1_what_was_told_ok_exists_once(story: Story, held: Held) -> Iterator[Violation]:
    """I1 every operation that was told "ok" exists exactly once.

    It exists with the id that was told and with the words that were asked. What was told forgotten does
    not; a cancelled turn has ended. A turn that was told `failed` was told to exist, too, and so was one
    whose stream said `accepted`.
    """
    made, gone = _made(held), _forgotten(story)
    rows = {row["id"] for row in held.memories}
    for requested_, attempts in requested(story).items():
        for one in attempts:
            if one.outcome in (Outcome.OK, Outcome.FAILED) or told(one):
                yield from _there(one, requested_, made.get(requested_, []), rows | gone.keys())
    for memory, asked in gone.items():
        if memory in rows and any(one.outcome is Outcome.OK for one in asked):
            yield _i1(f"memory {memory} was told forgotten and is there")
    states = {row["id"]: row["state"] for row in held.turns}
    for one in story.of("turn.cancel"):
        if one.outcome is Outcome.OK and states.get(one.asked["turn_id"]) in (None, 1):
            yield _i1(f"turn {one.asked['turn_id']} was told ended and is not")


def _there(
    one: Operation, requested_: Requested, made: Sequence[Effect], memories: Collection[str]
) -> Iterator[Violation]:
    (kind, _, request), named = requested_, told(one)
    found = [effect for effect in made if effect.resource == named]
    if len(found) != 1:
        yield _i1(f"{kind} {named} of request {request} was told, found {len(found)} times")
    elif kind == "memory" and named not in memories:
        yield _i1(f"memory {named} was told ok and is not there")
    elif found[0].words and found[0].words != one.asked["words"]:
        yield _i1(f"{kind} {named} holds other words than request {request} asked")


def _i1(what: str) -> Violation:
    return Violation(invariant="I1", what=what)


def i2_one_request_has_one_effect(story: Story, held: Held) -> Iterator[Violation]:
    """I2 at most one side effect (turn, charge, memory, publish) for one `request_id`.

    Counted by request id, by the words (the workload writes each request's id into them), and by what
    follows from a resource: one decision, one end (the charge), one memory of a turn, one request to a
    model, one event. A record that Kafka holds twice is one publish if its bytes are the same: consumers
    know records by their ids.
    """
    for (kind, tenant, request), found in _made(held).items():
        if tenant in story.tenants and len(found) > 1:
            yield _i2(f"request {request} made {len(found)} {kind}s: {[one.resource for one in found]}")
    for (kind, _, request), attempts in requested(story).items():
        names = {told(one) for one in attempts} - {""}
        if len(names) > 1:
            yield _i2(f"request {request} was told {len(names)} {kind}s: {sorted(names)}")
    yield from _by_words(story, held)
    yield from _by_resource(held)


def _by_words(story: Story, held: Held) -> Iterator[Violation]:
    words: dict[tuple[str, str, str], int] = Counter(
        (one.kind, one.tenant, one.words) for one in effects(held) if one.words
    )
    for (kind, tenant, request), attempts in requested(story).items():
        asked = attempts[0].asked["words"]
        if request in asked and words[kind, tenant, asked] > 1:
            yield _i2(f"the words of request {request} are in {words[kind, tenant, asked]} {kind}s")


def _by_resource(held: Held) -> Iterator[Violation]:
    counted = Counter(
        (f"audit {row['action']}", row["resource"]) for row in held.audit if row["action"] in ONCE
    )
    counted.update(("memory of turn", row["turn_id"]) for row in held.memories if row["turn_id"])
    published = {(record.topic, record.key, record.id) for record in held.of_topic("slm.requests")}
    counted.update((topic, turn) for topic, turn, _ in published)
    told_of = {(record.id, turn_told(record)) for record in held.of_topic("turns.events")}
    counted.update(("turns.events", turn) for _, turn in told_of)
    for (what, resource), number in counted.items():
        if number > 1:
            yield _i2(f"{number} times: {what} {resource}")
    contents: dict[tuple[str, str], set[bytes]] = {}
    for record in held.records:
        contents.setdefault((record.topic, record.id), set()).add(record.value)
    for (topic, identity), values in contents.items():
        if len(values) > 1:
            yield _i2(f"record {identity} was published to {topic} with {len(values)} contents")


def turn_told(record: Published) -> str:
    """The turn that a record of `turns.events` tells of."""
    return str(TurnEnded.FromString(record.value).turn.id)


def _i2(what: str) -> Violation:
    return Violation(invariant="I2", what=what)


def i3_unknown_is_whole_or_absent(story: Story, held: Held) -> Iterator[Violation]:
    """I3 an "unknown" is there whole or not at all.

    Whole: its row, the audit record of its creation, and what a worker needs to go on with it. Not at
    all: no row, and no record with its words. What was only ever refused is not there at all.
    """
    made = _made(held)
    audited = {(row["action"], row["resource"]) for row in held.audit}
    asked = {record.key for record in held.of_topic("slm.requests")}
    denied = {_parsed(row).resource for row in held.audit if _parsed(row).outcome == "denied"}
    for (kind, tenant, request), attempts in requested(story).items():
        outcomes = {one.outcome for one in attempts}
        if Outcome.OK in outcomes or Outcome.FAILED in outcomes:
            continue
        found = made.get((kind, tenant, request), [])
        if outcomes == {Outcome.REFUSED} and any(e.resource not in denied for e in found):
            yield _i3(f"{kind} of request {request} was refused and is there: {found[0].resource}")
        for one in found:
            if (CREATED_BY[kind], one.resource) not in audited:
                yield _i3(f"{kind} {one.resource} is there without the record of its creation")
            if kind == "turn" and one.resource not in asked | denied:
                yield _i3(f"turn {one.resource} is there and no model was asked")
        if not found and request and _spoken_of(held, tenant, request):
            yield _i3(f"{kind} of request {request} is not there, but records tell of it")


def _spoken_of(held: Held, tenant: str, request: str) -> bool:
    words = request.encode()
    return any(
        record.tenant == tenant and words in record.value
        for record in held.of_topic("slm.requests", "turns.events", "memory.events")
    )


def _parsed(row: Row) -> AuditRecord:
    return AuditRecord.FromString(row["record"])


def _i3(what: str) -> Violation:
    return Violation(invariant="I3", what=what)
