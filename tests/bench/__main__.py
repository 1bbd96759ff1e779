"""`make bench`: every benchmark against a running stack, as a table and as `bench.json`.

Each benchmark is a module that prints its rows as JSON, `{name, unit, ours, baseline, ratio, spread}` and,
where it has one, its bound and whether it is kept (`tests/bench/rows.py`). `ratio` is ours / baseline,
measured side by side in one run, and `spread` the distance of the quartiles of the rounds divided by their
median. The stack is brought up first where it is not. Rows of other modules in an earlier
`bench.json` are kept where only some modules run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mesh.stack.environment import GRPC_POLLING

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench.json"
MODULES = ("decisions", "interceptors", "edge", "sessions", "idle", "records", "retrieval", "road")
SECONDS = 2 * 3600.0  # of one: the first run of `retrieval` embeds 100,000 passages
Rows = list[dict[str, Any]]


def run(module: str) -> Rows:
    """The rows of one benchmark.

    Raises:
        SystemExit: it failed; what it said has been printed.
    """
    command = [sys.executable, "-m", f"tests.bench.{module}"]
    environment = {**os.environ, **GRPC_POLLING, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, timeout=SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"bench: {module} failed with {done.returncode}")
    found: Rows = json.loads(done.stdout)
    return [{"module": module, **row} for row in found]


def machine() -> Rows:
    """What it was measured on."""
    cores = os.cpu_count() or 1
    row = {"module": "machine", "name": "machine: cores", "unit": "cores", "ours": cores, "baseline": cores}
    return [row | {"ratio": 1.0, "spread": 0.0, "note": f"{platform.machine()}, {platform.system()}"}]


def table(rows: Rows) -> Table:
    """The table that people read."""
    shown = Table("what", "unit", "ours", "baseline", "ratio", "spread", "bound", "kept")
    for row in rows:
        figures = (f"{row[key]:g}" for key in ("ours", "baseline", "ratio", "spread"))
        ok = row.get("ok")
        kept = "" if ok is None else "yes" if ok else "[red]no[/red]"
        shown.add_row(row["name"], row["unit"], *figures, row.get("bound") or "", kept)
    return shown


def merged(rows: Rows, modules: tuple[str, ...]) -> Rows:
    """Put rows of an earlier run beside these, for the modules that did not run now."""
    if set(modules) >= set(MODULES) or not BENCH.exists():
        return rows
    fresh = {*modules, "machine"}
    kept = [one for one in json.loads(BENCH.read_text()) if one.get("module", "machine") not in fresh]
    return kept + rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"some of {MODULES}; all without any")
    wanted = tuple(parser.parse_args().modules) or MODULES
    subprocess.run([sys.executable, "-m", "mesh.cli", "up"], cwd=ROOT, stdout=sys.stderr, check=True)
    rows = machine()
    for module in wanted:
        began = time.monotonic()
        rows += run(module)
        print(f"bench: {module} took {time.monotonic() - began:.0f} s", file=sys.stderr)
        BENCH.write_text(json.dumps(merged(rows, wanted), indent=1) + "\n")
    Console(width=190).print(table(rows))
    missed = [row["name"] for row in rows if row.get("ok") is False]
    print(
        f"bench: {len(missed)} bounds are missed" if missed else "bench: every bound is kept", file=sys.stderr
    )


if __name__ == "__main__":
    main()
