"""The bench as a page: `docs/benchmarks.md` and the plot that it shows, from `bench.json`.

`python -m tests.bench.page` (which `make bench-docs` calls) writes both. The plot is an SVG of how much of
its bound each figure uses, on a logarithmic scale: left of the line is within the bound.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "benchmarks.md"
PLOT: Final = ROOT / "docs" / "img" / "benchmarks.svg"
BEGIN, END = "<!-- begin: tests/bench/page.py -->", "<!-- end: tests/bench/page.py -->"
LEFT, WIDTH, STEP, TOP = 560, 420, 22, 44
LOWEST, HIGHEST = 1e-3, 10.0
FONT: Final = 'font-family="sans-serif" font-size="12"'
WITHIN, BEYOND = "#2f7d6b", "#b3412e"
Row = Mapping[str, Any]


def table(rows: Sequence[Row]) -> str:
    """Give all rows as Markdown, those with a bound apart and first."""
    bounded = [one for one in rows if one.get("bound")]
    others = [one for one in rows if not one.get("bound") and not one["name"].startswith("CPU of")]
    parts = [
        _grid(
            ("figure", "ours", "unit", "baseline", "ratio", "spread", "bound", "kept"), map(_cells, bounded)
        ),
        "## Beside them",
        _grid(("figure", "ours", "unit", "baseline", "ratio", "spread"), (_cells(one)[:6] for one in others)),
        "## CPU by process",
        "The part of each process in the CPU of a unit of work, and the sum of all.",
        _grid(("unit of work", "sum", "unit", "parts"), _cpu(rows)),
    ]
    return "\n\n".join(parts)


def _cells(row: Row) -> list[str]:
    ok = row.get("ok")
    kept = "" if ok is None else "yes" if ok else "**no**"
    return [row["name"], *(f"{row[key]:g}" if key != "unit" else row[key] for key in
            ("ours", "unit", "baseline", "ratio", "spread")), row.get("bound") or "", kept]  # fmt: skip


def _cpu(rows: Sequence[Row]) -> list[list[str]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["name"].startswith("CPU of"):
            found.setdefault(row["name"].rpartition(": ")[0], []).append(row)
    made = []
    for name, each in found.items():
        parts = [f"{one['name'].rpartition(': ')[2]} {one['ours']:g}" for one in each if one["ratio"] >= 0.01]
        made.append([name, f"{each[0]['baseline']:g}", each[0]["unit"], ", ".join(parts)])
    return made


def _grid(head: Sequence[str], body: Any) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(one) + " |" for one in lines)


def plot(rows: Sequence[Row]) -> str:
    """Give the SVG."""
    shown = [one for one in rows if one.get("share") is not None]
    height = TOP + STEP * len(shown) + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 90} {height}" {FONT}>',
        f'<rect width="100%" height="{height}" fill="white"/>',
        '<text x="12" y="20" font-weight="bold">Part of its bound that each figure uses</text>',
    ]
    for mark in (0.001, 0.01, 0.1, 1.0, 10.0):
        x = _place(mark)
        color = "#333" if mark == 1 else "#ddd"
        lines.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height - 16}" stroke="{color}"/>')
        lines.append(f'<text x="{x}" y="{TOP - 12}" text-anchor="middle" fill="#555">{mark:g}</text>')
    for number, row in enumerate(shown):
        y = TOP + STEP * number
        end = _place(row["share"])
        color = WITHIN if row["ok"] else BEYOND
        name = escape(row["name"] if len(row["name"]) < 90 else row["name"][:87] + "...")
        lines.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{name}</text>')
        lines.append(
            f'<rect x="{LEFT}" y="{y + 3}" width="{max(1, end - LEFT)}" height="13" fill="{color}"/>'
        )
        lines.append(
            f'<text x="{end + 5}" y="{y + 13}" fill="#333">{row["ours"]:g} {escape(row["unit"])}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _place(share: float) -> int:
    inside = min(max(share, LOWEST), HIGHEST)
    return LEFT + round(WIDTH * math.log(inside / LOWEST) / math.log(HIGHEST / LOWEST))


def main() -> None:
    """Write page and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", nargs="?", type=Path, default=ROOT / "bench.json")
    rows = json.loads(parser.parse_args().bench.read_text(encoding="utf-8"))
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    PLOT.write_text(plot(rows), encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
