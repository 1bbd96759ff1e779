"""Each invariant goes red by the smallest thing that breaks it, and by nothing else."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from soma.orchestrator.v1.resources_pb2 import Delta, TurnEvent

from tests.chaos import report
from tests.chaos import small_world as world
from tests.chaos.__main__ import arguments, chosen
from tests.chaos.canaries import Spotter, spellings
from tests.chaos.faults import FAULTS
from tests.chaos.held import Held, Sighting
from tests.chaos.invariants import check
from tests.chaos.journal import Journal, Json, Outcome, Owner, read
from tests.chaos.latency import Sample, Span, i8_quick_again, recoveries
from tests.chaos.plan import part_of, plan

SECOND_TURN = f"trn_{2:032x}"


def red(held: Held, lines: list[Json] | None = None) -> set[str]:
    """The invariants that do not hold."""
    return {violation.invariant for violation in check(world.story(lines), held)}


def test_a_world_without_a_fault_is_green() -> None:
    assert check(world.story(), world.held()) == []


HELD = world.held()
RECORDS = world.records()
DOUBLED = [*world.log()[:2], *((seq + 1, event) for seq, event in world.log()[1:])]
APPENDED = [*world.log(), (5, TurnEvent(seq=5, delta=Delta(text="more")).SerializeToString())]
TWICE = [*HELD.turns, {**HELD.turns[0], "id": SECOND_TURN, "number": 2}]

PLANTED = {
    "a lost session": (world.held(sessions=[]), {"I1", "I7"}),
    "a lost turn": (world.held(turns=[]), {"I1", "I4", "I7"}),
    "a lost memory": (world.held(memories=[]), {"I1", "I7"}),
    "a lost key": (world.held(keys=[]), {"I1", "I7"}),
    "other words than were asked": (world.held(keys=world.with_(HELD.keys, display_name="x")), {"I1"}),
    "a second turn of one request": (world.held(turns=TWICE), {"I2", "I4", "I5", "I7"}),
    "a charge twice": (
        world.held(audit=[*HELD.audit, {**HELD.audit[2], "id": f"aud_{9:032x}", "index": 6}]),
        {"I2", "I5", "I7"},
    ),
    "a record with two contents": (
        world.held(records=[*HELD.records, dataclasses.replace(HELD.records[-1], value=b"")]),
        {"I2", "I7"},
    ),
    "a gap in a session": (
        world.held(sessions=world.with_(HELD.sessions, turn_count=2)),
        {"I4"},
    ),
    "a doubled frame in a log": (world.held(logs={world.TURN: DOUBLED}), {"I4"}),
    "a frame after the end of a log": (world.held(logs={world.TURN: APPENDED}), {"I4"}),
    "a swapped text": (
        world.held(turns=world.with_(HELD.turns, text=world.TEXT[::-1])),
        {"I4", "I7"},
    ),
    "a turn that never ended": (world.held(turns=world.with_(HELD.turns, state=1)), {"I4"}),
    "a missing record of a decision": (
        world.held(audit=world.chained([one for one in RECORDS if one.action != "turns.create"])),
        {"I5", "I7"},
    ),
    "a version that was never stored": (world.held(versions=frozenset({2})), {"I5"}),
    "a decision that the row does not name": (
        world.held(turns=world.with_(HELD.turns, decision_id="dec_8")),
        {"I5"},
    ),
    "a canary in a log": (
        world.held(sightings=[Sighting(canary=world.CANARY, place="log/gateway.log:1")]),
        {"I6"},
    ),
    "a canary in another tenant's record": (
        world.held(
            sightings=[Sighting(canary=world.CANARY, place="turns.events/0@1", tenant=world.STRANGER)]
        ),
        {"I6"},
    ),
    "an unpublished row": (world.held(records=HELD.records[1:]), {"I7"}),
    "a row that is not marked": (world.held(outbox=world.with_(HELD.outbox, published_at=None)), {"I7"}),
    "a broken chain": (world.held(audit=world.with_(HELD.audit, hash=bytes(32))), {"I7"}),
    "a memory without its point": (world.held(points=[]), {"I7"}),
    "a backlog that did not drain": (world.held(unfinished=["1 running turns"]), {"I7"}),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_turns_its_invariants_red(planted: str) -> None:
    held, expected = PLANTED[planted]
    assert red(held) == expected, check(world.story(), held)


def test_a_canary_of_its_own_tenant_is_where_it_belongs() -> None:
    own = Sighting(canary=world.CANARY, place="turns.events/0@1", tenant=world.TENANT)
    assert red(world.held(sightings=[own])) == set()


def changed(lines: list[Json], op: str, at: str, **values: object) -> list[Json]:
    """A journal with other values in an operation's lines."""
    return [{**line, **values} if (line.get("op"), line["at"]) == (op, at) else line for line in lines]


def without(lines: list[Json], op: str, at: str) -> list[Json]:
    """A journal without an operation's lines of a kind."""
    return [line for line in lines if (line.get("op"), line["at"]) != (op, at)]


def test_a_doubled_event_in_a_stream_is_seen() -> None:
    lines = world.lines()
    place = next(
        place for place, line in enumerate(lines) if line["at"] == "event" and "delta" in line["event"]
    )
    assert red(world.held(), [*lines[: place + 1], lines[place], *lines[place + 1 :]]) == {"I4"}


def test_a_lost_event_in_a_stream_is_seen() -> None:
    lines = [line for line in world.lines() if line.get("event", {}).get("seq") != "3"]
    assert red(world.held(), lines) == {"I4"}


WHOLE: dict[str, Callable[[str], Json]] = {
    "turn.whole": lambda text: {"id": world.TURN, "text": text},
    "turn.chat": lambda text: {
        "choices": [{"message": {"content": text}}], "soma": {"turn_id": world.TURN},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_a_swapped_text_of_a_turn_that_was_answered_whole_is_seen(kind: str) -> None:
    sent = next(line for line in world.lines() if line.get("kind") == "turn.stream")
    for text, expected in ((world.TEXT, set()), (world.TEXT[::-1], {"I4"})):
        told = {"at": "answered", "op": "op-9", "outcome": "ok", "status": 200, "answer": WHOLE[kind](text)}
        assert red(world.held(), [*world.lines(), {**sent, "op": "op-9", "kind": kind}, told]) == expected


def test_a_second_end_of_a_stream_is_seen() -> None:
    lines = world.lines()
    end = next(line for line in lines if "completed" in line.get("event", {}))
    again = {**end, "event": {**end["event"], "seq": "5"}}
    place = lines.index(end) + 1
    assert red(world.held(), [*lines[:place], again, *lines[place:]]) == {"I4"}


def test_a_stream_that_was_left_is_the_beginning_of_the_text() -> None:
    lines = [line for line in world.lines() if line.get("event", {}).get("seq") not in ("3", "4")]
    left = changed(lines, "op-1", "answered", outcome="unknown")
    assert red(world.held(), left) == set()
    wrong = changed(left, "op-1", "event", event={"seq": "0", "delta": {"text": "Never"}})
    assert "I4" in red(world.held(), wrong)


def test_another_tenant_s_canary_in_an_answer_is_seen() -> None:
    answer = {"api_key": {"id": world.KEY}, "display_name": f"of {world.OTHERS}"}
    assert red(world.held(), changed(world.lines(), "op-3", "answered", answer=answer)) == {"I6"}


def test_an_unknown_may_be_there_or_not() -> None:
    lines = without(world.lines(), "op-3", "answered")
    audit = [one for one in RECORDS if one.action != "keys.create"]
    chain = world.chained(audit)
    kafka = world.topics(audit)
    chains = [dataclasses.replace(HELD.chains[0], count=4, ids=tuple(one.id for one in audit))]
    absent = {"audit": chain, "records": kafka, "outbox": world.outbox(kafka), "chains": chains}
    assert red(world.held(), lines) == set()
    assert red(world.held(keys=[], **absent), lines) == set()
    assert red(world.held(**absent), lines) == {"I3", "I7"}


def test_an_unknown_of_which_only_words_are_there_is_half() -> None:
    lines = without(world.lines(), "op-2", "answered")
    assert "I3" in red(world.held(memories=[], requests=[]), lines)


def test_what_was_refused_is_not_there() -> None:
    lines = changed(world.lines(), "op-3", "answered", outcome="refused", status=403, answer={})
    assert red(world.held(), lines) == {"I3"}


def test_one_request_that_was_told_two_ids_has_two_effects() -> None:
    again = changed(world.lines(), "op-3", "answered", answer={"api_key": {"id": f"key_{2:032x}"}})
    lines = world.lines()
    lines += [{**line, "op": "op-4"} for line in again if line.get("op") == "op-3"]
    assert red(world.held(), lines) == {"I1", "I2"}


def test_canaries_are_found_as_text_as_hex_and_in_base64() -> None:
    spotter = Spotter([Owner(tenant=world.TENANT, canary=world.CANARY)])
    assert len(spellings(world.CANARY)) == 5
    for before in ("", "a", "ab", "abc"):
        text = f"{before}{world.CANARY}, and more"
        raw = text.encode()
        encoded = base64.b64encode(raw).decode()
        assert spotter.seen(text) == spotter.seen(raw.hex()) == spotter.seen(encoded) == {world.CANARY}
    assert spotter.seen("canary") == set()


async def test_a_journal_outlives_its_client(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    code = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from tests.chaos.journal import Journal\n"
        "async def main():\n"
        "    with Journal(Path(sys.argv[1])) as journal:\n"
        "        await journal.begin(seed=3, owners=[])\n"
        "        sent = {'at': 'sent', 'tenant': 't', 'kind': 'k', 'asked': {}}\n"
        "        await asyncio.gather(*(journal.write({**sent, 'op': str(n)}) for n in range(100)))\n"
        "        await journal.write({'at': 'answered', 'op': '7', 'outcome': 'ok'})\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code, str(path)], check=False, env=dict(os.environ)
    )
    assert done.returncode == -signal.SIGKILL
    with path.open("ab") as torn:
        torn.write(b'{"at": "answered", "op": "8", "outc')
    story = read(path)
    assert story.seed == 3
    assert [one.id for one in story.operations.values()] == [str(number) for number in range(100)]
    known = [one.id for one in story.operations.values() if one.outcome is Outcome.OK]
    assert known == ["7"]


async def test_what_is_noted_lies_before_what_is_awaited(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.note({"at": "first"})
        await journal.write({"at": "second"})
        assert [json.loads(line)["at"] for line in path.read_text().splitlines()] == ["first", "second"]


def test_a_recovery_is_compared_with_calm_windows() -> None:
    def calls(start: float, seconds: float, took: float) -> list[Sample]:
        return [Sample(start + number / 8, took) for number in range(int(seconds * 8))]

    calm = calls(0, 16, 0.010)
    span = Span(fault="kill x", begun=16.0, repaired=20.0)
    for took, late in ((0.011, False), (0.013, True), (math.inf, True)):
        found = recoveries([*calm, *calls(30, 8, took)], [span], calm=(0.0, 16.0))
        assert [violation.invariant for violation in i8_quick_again(found)] == ["I8"] * late
    followed = Span(fault="kill y", begun=31.0, repaired=32.0)
    assert recoveries([*calm, *calls(30, 8, 1.0)], [span, followed], calm=(0.0, 16.0)) == []


def test_a_seed_plans_the_same_storm_again() -> None:
    one, same, other = (plan(seed, FAULTS, long=True) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_the_long_storm_kills_each_process_twenty_times() -> None:
    names = [step.fault.name for step in plan(1, FAULTS, long=True)]
    kills = {fault.name: names.count(fault.name) for fault in FAULTS if fault.name.startswith("kill ")}
    assert len(kills) >= 17
    assert {count for name, count in kills.items() if len(name.split()) == 2} == {20}
    assert {fault.name for fault in FAULTS} == set(names)


def test_the_short_storm_leaves_out_what_takes_long() -> None:
    names = {step.fault.name for step in plan(1, FAULTS, long=False)}
    assert names == {fault.name for fault in FAULTS if not fault.long_only}


def test_whoever_names_a_fault_gets_it() -> None:
    name = next(fault.name for fault in FAULTS if fault.long_only)
    faults, _ = chosen(arguments(["--only", name, "--seed", "1"]))
    assert [step.fault.name for step in plan(1, faults, long=False)] == [name]


def test_the_parts_of_a_storm_are_the_whole() -> None:
    whole = plan(1, FAULTS, long=True)
    parts = [part_of(whole, number, 7) for number in range(1, 8)]
    assert [step for part in parts for step in part] == whole
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_reports_of_parts_are_read_as_one() -> None:
    one, other = (
        {
            "seeds": [7], "operations": {"turn ok": 2, **more}, "connections": 3, "events": 4,
            "faults": {"kill a": {"times": 1, "operations": 5, "unknown": 0, "found": {"I1": found},
                                  "p95_ratios": [1.5]}},
            "not_run": [], "violations": [{"invariant": "I1", "what": "kill a: lost"}] * found,
            "scenarios": [],
        }
        for found, more in ((0, {}), (1, {"turn unknown": 1}))
    )  # fmt: skip
    told = report.joined([one, other])
    assert told["operations"] == {"turn ok": 4, "turn unknown": 1}
    assert told["faults"]["kill a"] == {
        "times": 2, "operations": 10, "unknown": 0, "found": {"I1": 1}, "p95_ratios": [1.5, 1.5]
    }  # fmt: skip
    text = report.as_text(told)
    assert "kill a  2      10          0        1" in text
    assert text.endswith("WRONG I1 kill a: lost")
