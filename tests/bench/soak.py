"""Hours of load, and the slope of each process's memory.

`python -m tests.bench.soak --minutes 120` (or `--turns 100000`) keeps a load on a running stack: turns of
the generative model and of the guide, each in a session of its own, every stream checked against the
stored turn. Every 10 s the memory of each process is read (PSS, children included, see
`tests/bench/usage.py`) and written as a line of `$SOMA_HOME/bench/soak.jsonl`. At the end the slope of
each process after the first 15 minutes is printed, in MiB an hour, by least squares with a 95 %
interval (`tests/bench/slope.py`); the exit code is 1 where a slope is surely above 1 MiB an hour, or a
stream was damaged. `--read FILE` prints the table of an earlier run again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from mesh.runtime import eventloop
from tests.bench.driver import check, follow
from tests.bench.rows import Bound, Row, emit
from tests.bench.slope import Slope, slope
from tests.bench.target import Target
from tests.bench.usage import MIB, Watched
from tests.support.wires import Client, connect

EVERY_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 15 * 60.0
MOST: Final = 1.0  # MiB an hour
PERSONAS: Final = ("bootstrap", "bootstrap", "bootstrap", "guide")
QUESTION: Final = "What happens to turn {} when a worker dies in the middle of it?"
Samples = list[dict[str, Any]]


@dataclass(slots=True)
class Load:
    """What has been asked so far."""

    turns: int = 0
    damage: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    over: bool = False

    async def lane(self, client: Client, most: int) -> None:
        """Run turns, one after the other."""
        while not self.over and self.turns < most:
            self.turns += 1
            number = self.turns
            try:
                session = await client.create_session(PERSONAS[number % len(PERSONAS)])
                text = QUESTION.format(number)
                journal = await follow(client, session, text, patience=300, max_tokens=64)
                self.damage += await check(client, [journal])
            except Exception as error:  # noqa: BLE001  (hours of load do not end by one call; all are told)
                self.errors.append(f"{type(error).__name__}: {error}"[:300])
                await asyncio.sleep(1.0)


async def sample(watched: Watched, load: Load, file: Path, start: float) -> None:
    """Read memory for ever."""
    for number in itertools.count():
        await asyncio.sleep(max(0.0, start + number * EVERY_SECONDS - time.monotonic()))
        # In a thread: reading the maps of all processes takes long enough to hold the clients up.
        held = await asyncio.to_thread(watched.memory)
        line = {"seconds": time.monotonic() - start, "turns": load.turns, "bytes": held}
        await asyncio.to_thread(_append, file, json.dumps(line))


def _append(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def slopes(samples: Samples, *, settle: float) -> dict[str, Slope]:
    """Give the slope of each process that lived through all samples, in MiB an hour."""
    kept = [one for one in samples if one["seconds"] >= settle]
    hours = [one["seconds"] / 3600 for one in kept]
    names = set.intersection(*(set(one["bytes"]) for one in kept)) if kept else set()
    return {
        name: slope(hours, [one["bytes"][name] / MIB for one in kept])
        for name in sorted(names)
        if len(kept) >= 3
    }


def rows(found: dict[str, Slope], last: dict[str, float], *, note: str) -> list[Row]:
    """Give a row a process; the baseline is what it holds at the end."""
    bound = Bound(MOST)
    return [
        Row(
            name=f"memory slope of {name}",
            unit="MiB/h",
            ours=round(one.value, 3),
            baseline=round(last[name], 1),
            ratio=round(one.value / last[name], 5) if last[name] else 0.0,
            spread=round(one.half, 3),
            note=note,
            **bound.fields(one.value, 0.0),
        )
        for name, one in found.items()
    ]


def table(made: Sequence[Row]) -> Table:
    """The table that people read."""
    shown = Table("process", "MiB at the end", "MiB an hour", "95 % interval", "flat")
    for one in made:
        flat = "yes" if one.ok else "perhaps" if one.ours - one.spread <= MOST else "no"
        shown.add_row(one.name.removeprefix("memory slope of "), f"{one.baseline:g}", f"{one.ours:g}",
                      f"{one.ours - one.spread:.3g} to {one.ours + one.spread:.3g}", flat)  # fmt: skip
    return shown


async def soak(given: argparse.Namespace, file: Path) -> Load:
    """Keep the load on until time or turns are over."""
    target = Target.here()
    watched = await target.watched()
    load = Load()
    async with connect(over_grpc=given.grpc) as client:
        sampler = asyncio.create_task(sample(watched, load, file, time.monotonic()))
        lanes = [asyncio.create_task(load.lane(client, given.turns)) for _ in range(given.streams)]
        await asyncio.wait(lanes, timeout=given.minutes * 60)
        load.over = True
        await asyncio.gather(*lanes)
        sampler.cancel()
        await asyncio.gather(sampler, return_exceptions=True)
    return load


def told(file: Path, *, settle: float, note: str) -> list[Row]:
    """Give the rows of a file of samples."""
    samples: Samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    last = {name: size / MIB for name, size in samples[-1]["bytes"].items()}
    return rows(slopes(samples, settle=settle), last, note=note)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--turns", type=int, default=10**9, help="end earlier, after so many")
    parser.add_argument("--streams", type=int, default=10, help="turns open at once")
    parser.add_argument("--settle", type=float, default=SETTLE_SECONDS, help="seconds left out at the start")
    parser.add_argument("--grpc", action="store_true", help="gRPC over TLS instead of SSE")
    parser.add_argument("--json", action="store_true", help="rows as JSON instead of the table")
    parser.add_argument("--read", type=Path, help="a file of samples")
    given = parser.parse_args()
    file, load = given.read, Load()
    if file is None:
        file = Target.here().settings.home.root / "bench" / "soak.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        load = eventloop.run(soak(given, file))
    note = f"{load.turns} turns, {len(load.errors)} errors, {len(load.damage)} damaged"
    made = told(file, settle=given.settle, note=note)
    if given.json:
        emit(made)
    else:
        Console(width=110).print(table(made))
    sys.stderr.write(
        f"soak: {note}; samples in {file}\n" + "\n".join((load.errors + load.damage)[:10]) + "\n"
    )
    sys.exit(1 if load.damage or any(one.ours - one.spread > MOST for one in made) else 0)


if __name__ == "__main__":
    main()
