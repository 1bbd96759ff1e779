"""I4: turns of a session, events of a turn, and the text that they join to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from soma.orchestrator.v1.resources_pb2 import TurnEvent

from tests.chaos.checks.effects import told
from tests.chaos.held import Held, Row, Violation, by
from tests.chaos.journal import Json, Operation, Story

ENDS = ("completed", "refused", "failed")
COMPLETED, REFUSED, FAILED, CANCELLED = 2, 3, 4, 5
RUNNING = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event, from the client's JSON or from a log's bytes."""

    seq: int
    text: str = ""
    end: str = ""
    cancelled: bool = False


def i4_streams_are_gap_free_and_equal_the_text(story: Story, held: Held) -> Iterator[Violation]:
    """I4 per-session turns are gap-free, each turn's `seq` too, and every stream equals the stored text.

    Joined over its reconnects, byte for byte, with exactly one end.

    The same holds for a log that Redis still keeps, for a turn that was answered whole, and for the row
    itself: its text is as long as its deltas say. A stream that its client left is the beginning of it.
    """
    yield from _sessions(held)
    turns = {row["id"]: row for row in held.turns}
    for row in held.turns:
        if row["state"] == RUNNING:
            yield _i4(f"turn {row['id']} has no end")
        elif sum(row["delta_lengths"]) != len(row["text"]) and row["state"] != REFUSED:
            yield _i4(f"turn {row['id']}: its deltas have another length than its text")
    for one in story.of("turn.stream", "turn.read"):
        yield from _stream(one, turns)
    for one in story.of("turn.whole", "turn.chat"):
        yield from _whole(one, turns)
    for turn, entries in held.logs.items():
        if turn in turns:
            yield from _joined(f"log of {turn}", [_of_bytes(seq, raw) for seq, raw in entries], turns[turn])


def _sessions(held: Held) -> Iterator[Violation]:
    turns = by(held.turns, "session_id")
    for session in held.sessions:
        numbers = sorted(row["number"] for row in turns.get(session["id"], []))
        if numbers != list(range(1, session["turn_count"] + 1)):
            yield _i4(f"session {session['id']} counts {session['turn_count']} turns and has {numbers}")


def _stream(one: Operation, turns: dict[str, Row]) -> Iterator[Violation]:
    joined: list[Event] = []
    named = str(one.asked.get("turn_id", ""))
    for connection in one.connections:
        if connection.from_seq == 0:
            joined = []  # the client was told to read again, or had nothing yet
        for raw in connection.events:
            if "ping" in raw:
                continue
            event = _of_json(raw)
            if event.seq != len(joined):
                yield _i4(f"{one.kind} {one.id}: event {event.seq} came after {len(joined)} events")
                return
            joined.append(event)
            named = raw["accepted"]["turn_id"] if "accepted" in raw else named
    if not joined:
        return
    if named not in turns:
        return  # I1 tells of it
    yield from _joined(f"{one.kind} {one.id} of {named}", joined, turns[named])


def _joined(whose: str, events: Sequence[Event], row: Row) -> Iterator[Violation]:
    if [event.seq for event in events] != list(range(len(events))):
        yield _i4(f"{whose}: its events are numbered {[event.seq for event in events]}")
    ends = [event for event in events if event.end]
    text = "".join(event.text for event in events)
    if len(ends) > 1 or (ends and not events[-1].end):
        yield _i4(f"{whose}: {len(ends)} ends, the last event is {events[-1].seq}")
    if not ends:
        if not str(row["text"]).startswith(text):
            yield _i4(f"{whose}: what was streamed is not the beginning of the stored text")
        return
    if text.encode() != str(row["text"]).encode():
        yield _i4(f"{whose}: streamed {len(text)} characters, stored {len(row['text'])}, not the same")
    if _state(ends[-1]) != row["state"]:
        yield _i4(f"{whose}: ended with {ends[-1].end}, the row says {row['state']}")
    last = len(row["opening"]) + len(row["delta_lengths"])
    if len(events) != last + 1:
        yield _i4(f"{whose}: {len(events)} events, the row has {last + 1}")


def _whole(one: Operation, turns: dict[str, Row]) -> Iterator[Violation]:
    answer = one.answer if isinstance(one.answer, dict) else {}
    text = answer.get("text", "")
    if one.kind == "turn.chat" and "choices" in answer:
        text = answer["choices"][0]["message"]["content"]
    row = turns.get(told(one))
    if row is not None and text.encode() != str(row["text"]).encode():
        yield _i4(f"turn {row['id']}: answered whole with another text than is stored")


def _state(end: Event) -> int:
    if end.end == "completed":
        return CANCELLED if end.cancelled else COMPLETED
    return REFUSED if end.end == "refused" else FAILED


def _of_json(raw: Json) -> Event:
    end = next((kind for kind in ENDS if kind in raw), "")
    return Event(
        seq=int(raw["seq"]),
        text=raw["delta"].get("text", "") if "delta" in raw else "",
        end=end,
        cancelled=end == "completed" and raw["completed"].get("finish_reason") == "cancelled",
    )


def _of_bytes(seq: int, raw: bytes) -> Event:
    event = TurnEvent.FromString(raw)
    kind = event.WhichOneof("event") or ""
    return Event(
        seq=seq if seq == event.seq else -1,
        text=event.delta.text,
        end=kind if kind in ENDS else "",
        cancelled=event.completed.finish_reason == "cancelled",
    )


def _i4(what: str) -> Violation:
    return Violation(invariant="I4", what=what)
