"""I5 and I6: nothing without a decision and its record; nothing of one tenant with another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from soma.audit.v1.resources_pb2 import AuditRecord

from tests.chaos.checks.streams import REFUSED, RUNNING
from tests.chaos.held import Held, Row, Violation, by
from tests.chaos.journal import Owner, Story

OUTCOMES = {2: "completed", 4: "failed", 5: "cancelled"}


def i5_every_turn_was_allowed_and_recorded(story: Story, held: Held) -> Iterator[Violation]:
    """I5 every turn has a prior allow with its policy version and its audit records.

    Prior: the decision is recorded with the moment of the turn's creation or one before, by the clock of
    the process that took it in, and in the transaction that made the turn. Its version is one that the
    policy service stored. An ended turn has the record of its end, with the same decision. A refused
    turn has its refusal.
    """
    del story
    records = by(held.audit, "resource")
    for turn in held.turns:
        mine = [AuditRecord.FromString(row["record"]) for row in records.get(turn["id"], [])]
        taken = [one for one in mine if one.action == "turns.create"]
        if len(taken) != 1:
            yield _i5(f"turn {turn['id']} has {len(taken)} records of its decision")
        else:
            yield from _decided(turn, taken[0], held)
        if turn["state"] not in (REFUSED, RUNNING):
            yield from _ended(turn, [one for one in mine if one.action == "turns.end"])


def _decided(turn: Row, taken: AuditRecord, held: Held) -> Iterator[Violation]:
    wanted = "denied" if turn["state"] == REFUSED else "allowed"
    if taken.outcome != wanted:
        yield _i5(f"turn {turn['id']} was {taken.outcome}, and its row says state {turn['state']}")
    named = (taken.decision_id, taken.policy_version)
    if named != (turn["decision_id"], turn["policy_version"]) or not taken.decision_id:
        yield _i5(f"turn {turn['id']}: its record names decision {named}, its row another")
    if taken.policy_version not in held.versions:
        yield _i5(f"turn {turn['id']} was decided by version {taken.policy_version}, which was never stored")
    if taken.time.ToDatetime() > turn["create_time"].replace(tzinfo=None):
        yield _i5(f"turn {turn['id']} was decided after it was made")


def _ended(turn: Row, ends: Sequence[AuditRecord]) -> Iterator[Violation]:
    if len(ends) != 1:
        yield _i5(f"turn {turn['id']} has {len(ends)} records of its end")
        return
    if ends[0].outcome != OUTCOMES[turn["state"]]:
        yield _i5(f"turn {turn['id']} is recorded as {ends[0].outcome}, its row says state {turn['state']}")
    if (ends[0].decision_id, ends[0].policy_version) != (turn["decision_id"], turn["policy_version"]):
        yield _i5(f"turn {turn['id']}: the record of its end names another decision")


def _i5(what: str) -> Violation:
    return Violation(invariant="I5", what=what)


def i6_no_tenant_sees_another(story: Story, held: Held) -> Iterator[Violation]:
    """I6 another tenant's canary appears nowhere (answers, errors, logs, metrics, traces, topics, streams).

    Rows, records, entries and points of a tenant may hold its own. Logs, metrics and traces are
    nobody's: there any canary is one too many, because users' words never stand there.
    """
    for one in story.operations.values():
        for canary in _others_in(one.answer, one.tenant, story.owners):
            yield _i6(f"the answer of {one.kind} {one.id} to {one.tenant} holds {canary}")
        for connection in one.connections:
            for canary in _others_in([connection.events, connection.broken], one.tenant, story.owners):
                yield _i6(f"the stream of {one.kind} {one.id} to {one.tenant} holds {canary}")
    owners = {owner.canary: owner.tenant for owner in story.owners}
    for sighting in held.sightings:
        if owners[sighting.canary] != sighting.tenant:
            whose = sighting.tenant or "nobody"
            yield _i6(f"{sighting.place}, which is {whose}'s, holds {sighting.canary}")


def _others_in(content: object, tenant: str, owners: Sequence[Owner]) -> list[str]:
    text = json.dumps(content)
    return [owner.canary for owner in owners if owner.tenant != tenant and owner.canary in text]


def _i6(what: str) -> Violation:
    return Violation(invariant="I6", what=what)
