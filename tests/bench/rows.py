"""Rows of the table: what was measured, beside what, and whether it keeps its bound."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table.

    Attributes:
        name: what was measured, with the loads and data that it was measured at.
        unit: of `ours` and `baseline`.
        ours: median over the rounds.
        baseline: the same of what it is compared with; the bound where there is no other.
        ratio: ours / baseline; of pairs of rounds the median of their ratios.
        spread: distance of the quartiles of the rounds (of their ratios, where they are pairs) by
            their median; 0 of a single measurement.
        bound: what `of` is to be, as it is read; empty without one.
        ok: whether it is; None without a bound.
        share: how much of the bound is used, 1 at the bound; None without one.
        note: how it was counted.
    """

    name: str
    unit: str
    ours: float
    baseline: float
    ratio: float
    spread: float
    bound: str = ""
    ok: bool | None = None
    share: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on `ours` or on `ratio`, from above or below."""

    value: float
    of: str = "ours"
    least: bool = False

    def fields(self, ours: float, ratio: float) -> dict[str, Any]:
        """Give what a row says of its bound."""
        found = ours if self.of == "ours" else ratio
        share = self.value / max(found, 1e-12) if self.least else found / self.value if self.value else found
        sign = ">=" if self.least else "<="
        return {
            "bound": f"{self.of} {sign} {self.value:g}",
            "ok": found >= self.value if self.least else found <= self.value,
            "share": round(share, 4),
        }


def spread(values: Sequence[float]) -> float:
    """Give the distance of the quartiles by the median; 0 of fewer than three values."""
    if len(values) < 3:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return abs((high - low) / middle) if middle else 0.0


def paired(
    name: str,
    unit: str,
    ours: Sequence[float],
    baseline: Sequence[float],
    *,
    bound: Bound | None = None,
    note: str = "",
) -> Row:
    """Sum up rounds that were measured side by side."""
    ratios = [a / b for a, b in zip(ours, baseline, strict=True) if b]
    mine, ratio = statistics.median(ours), statistics.median(ratios) if ratios else 0.0
    return Row(
        name=name,
        unit=unit,
        ours=_rounded(mine),
        baseline=_rounded(statistics.median(baseline)),
        ratio=_rounded(ratio),
        spread=round(spread(ratios), 3),
        note=note,
        **(bound.fields(mine, ratio) if bound else {}),
    )


def single(
    name: str,
    unit: str,
    ours: Sequence[float],
    *,
    bound: Bound | None = None,
    beside: float | None = None,
    note: str = "",
) -> Row:
    """Sum up rounds of something that has nothing beside it but its bound, or a given figure."""
    mine = statistics.median(ours)
    baseline = beside if beside is not None else bound.value if bound else mine
    ratio = mine / baseline if baseline else 0.0
    return Row(
        name=name,
        unit=unit,
        ours=_rounded(mine),
        baseline=_rounded(baseline),
        ratio=_rounded(ratio),
        spread=round(spread(ours), 3),
        note=note,
        **(bound.fields(mine, ratio) if bound else {}),
    )


def shares(name: str, unit: str, each: dict[str, float], *, note: str = "") -> list[Row]:
    """Give a row for each part of a whole, the largest first; `baseline` is the whole."""
    whole = sum(each.values())
    return [
        Row(
            name=f"{name}: {part}",
            unit=unit,
            ours=_rounded(value),
            baseline=_rounded(whole),
            ratio=_rounded(value / whole) if whole else 0.0,
            spread=0.0,
            note=note,
        )
        for part, value in sorted(each.items(), key=lambda one: -one[1])
        if value > 0
    ]


def quantile(values: Iterable[float], share: float) -> float:
    """Give the value that `share` of the values do not exceed."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def emit(rows: Iterable[Row]) -> None:
    """Print rows for `tests.bench`."""
    json.dump([asdict(row) for row in rows], sys.stdout, indent=1)
    sys.stdout.write("\n")


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
