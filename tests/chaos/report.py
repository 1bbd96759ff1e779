"""The report: invariants by fault, with counts of operations, kills and findings; as JSON and as a table."""

from __future__ import annotations

import argparse
import bisect
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.fault import Outcome
from tests.chaos.journal import Story
from tests.chaos.storm import Storm

COLUMNS = (*(f"I{number}" for number in range(1, 9)), "fault")
Report = dict[str, Any]
CALM = "(no fault yet)"
_WORD = re.compile(r"[A-Za-z0-9._:-]{8,}")


@dataclass(slots=True)
class Line:
    """One fault's line."""

    times: int = 0
    operations: int = 0
    unknown: int = 0
    found: Counter[str] = field(default_factory=Counter)
    ratios: list[float] = field(default_factory=list)


def lines(happened: Storm) -> dict[str, Line]:
    """Count by fault; an operation, and what is wrong with it, belongs to the last fault that had begun."""
    table: dict[str, Line] = {CALM: Line()}
    starts = [span.begun + happened.started for span in happened.spans]
    for span in happened.spans:
        table.setdefault(span.fault, Line()).times += 1

    def fault_at(moment: float) -> str:
        place = bisect.bisect_right(starts, moment)
        return happened.spans[place - 1].fault if place else CALM

    for one in happened.story.operations.values():
        line = table[fault_at(one.time)]
        line.operations += 1
        line.unknown += one.outcome == "unknown"
    named = {word for violation in happened.violations for word in _WORD.findall(violation.what)}
    times = _times(happened.story, named)
    for violation in happened.violations:
        known = [times[word] for word in _WORD.findall(violation.what) if word in times]
        fault = next((name for name in table if violation.what.startswith(name)), "")
        table[fault or (fault_at(known[0]) if known else CALM)].found[violation.invariant] += 1
    for recovery in happened.recoveries:
        table[recovery.fault].ratios.append(recovery.ratio)
    return table


def _times(story: Story, wanted: Collection[str]) -> dict[str, float]:
    """When each of these words was first written or read."""
    found: dict[str, float] = {}
    for one in story.operations.values() if wanted else ():
        content = json.dumps(
            [one.id, one.request_id, one.asked, one.answer, [c.events for c in one.connections]]
        )
        for word in _WORD.findall(content):
            if word in wanted:
                found.setdefault(word, one.time)
    return found


def report_of(happened: Storm, outcomes: Sequence[Outcome], *, seed: int) -> Report:
    """What is told of a run, as JSON has it."""
    operations = happened.story.operations.values()
    return {
        "seeds": [seed],
        "operations": dict(Counter(f"{one.kind} {one.outcome}" for one in operations)),
        "connections": sum(len(one.connections) for one in operations),
        "events": sum(len(each.events) for one in operations for each in one.connections),
        "held": {name: len(getattr(happened.held, name)) for name in happened.held.__slots__},
        "faults": {
            name: {
                "times": line.times, "operations": line.operations, "unknown": line.unknown,
                "found": dict(line.found), "p95_ratios": line.ratios,
            }
            for name, line in lines(happened).items()
        },
        "not_run": happened.not_run,
        "recoveries": [dataclasses.asdict(one) | {"ratio": one.ratio} for one in happened.recoveries],
        "violations": [dataclasses.asdict(one) for one in happened.violations],
        "scenarios": [
            {
                "name": one.name, "counts": dict(one.counts), "figures": dict(one.figures),
                "wrong": list(one.wrong),
            }
            for one in outcomes
        ],
    }  # fmt: skip


def joined(reports: Sequence[Report]) -> Report:
    """One report of several runs, such as the parts of a long one: counts are added, findings follow."""
    whole: Report = {}
    for report in reports:
        whole = {name: _added(whole.get(name), value) for name, value in report.items()}
    return whole


def _added(before: Any, more: Any) -> Any:
    if before is None:
        return more
    if isinstance(more, dict):
        return {name: _added(before.get(name), more.get(name)) for name in {**before, **more}}
    return before if more is None else before + more


def as_text(report: Report) -> str:
    """The table for people."""
    rows = [("fault", "times", "operations", "unknown", *COLUMNS, "p95 after/before")]
    for name, line in report["faults"].items():
        ratios = " ".join(f"{ratio:.2f}" for ratio in line["p95_ratios"]) or "-"
        cells = (str(line["found"].get(column) or ".") for column in COLUMNS)
        rows.append(
            (name, *(str(line[count]) for count in ("times", "operations", "unknown")), *cells, ratios)
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    told = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    told += [f"not run  {reason}" for reason in report["not_run"]]
    for one in report["scenarios"]:
        counts = " ".join(f"{name}={value}" for name, value in {**one["counts"], **one["figures"]}.items())
        told.append(f"scenario {one['name']}: {counts} {'WRONG' if one['wrong'] else 'ok'}")
    told += [f"WRONG {one['invariant']} {one['what']}" for one in report["violations"]]
    told += [f"WRONG {one['name']} {line}" for one in report["scenarios"] for line in one["wrong"]]
    return "\n".join(told)


def write(path: Path, content: Report) -> None:
    """Write the JSON file."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """`python -m tests.chaos.report FILE...`: the table of several runs' JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    files: list[Path] = parser.parse_args().files
    print(as_text(joined([json.loads(file.read_text("utf-8")) for file in files])))


if __name__ == "__main__":
    main()
