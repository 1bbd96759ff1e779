"""`make bench`: every benchmark against a running stack, as a table and as `bench.json`.

Each benchmark is a module that prints its rows `{name, unit, ours, baseline, ratio, spread}`; `ratio` is
ours / baseline, measured side by side in one run, and `spread` the distance of the quartiles of the
rounds' ratios divided by their median. The stack is brought up first where it is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("decisions", "interceptors", "edge", "retrieval", "road")
SECONDS = 900.0


def run(module: str) -> list[dict[str, Any]]:
    """The rows of one benchmark.

    Raises:
        SystemExit: it failed; what it said has been printed.
    """
    command = [sys.executable, "-m", f"tests.bench.{module}"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, timeout=SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"bench: {module} failed with {done.returncode}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def table(rows: list[dict[str, Any]]) -> Table:
    """The table that people read."""
    shown = Table("what", "unit", "ours", "baseline", "ratio", "spread")
    for row in rows:
        figures = (f"{row[key]:g}" for key in ("ours", "baseline", "ratio", "spread"))
        shown.add_row(row["name"], row["unit"], *figures)
    return shown


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"some of {MODULES}; all without any")
    wanted = parser.parse_args().modules or MODULES
    subprocess.run([sys.executable, "-m", "mesh.cli", "up"], cwd=ROOT, stdout=sys.stderr, check=True)
    rows: list[dict[str, Any]] = []
    for module in wanted:
        began = time.monotonic()
        rows += run(module)
        print(f"bench: {module} took {time.monotonic() - began:.0f} s", file=sys.stderr)
    (ROOT / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
    Console(width=150).print(table(rows))


if __name__ == "__main__":
    main()
