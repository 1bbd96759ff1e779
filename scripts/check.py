"""`make check`: format, lint, types, contracts, import rules, documents, tests; each by name.

python -m scripts.check               all of them, with the tests
python -m scripts.check lint types    some of them
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTHON = sys.executable

CHECKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "format": ((str(BIN / "ruff"), "format", "--check", "--quiet", "."),),
    "lint": ((str(BIN / "ruff"), "check", "--quiet", "."),),
    "imports": ((str(BIN / "lint-imports"),),),
    "types": ((str(BIN / "mypy"),),),
    "contracts": ((PYTHON, "scripts/contracts.py"),),
    "docs": ((PYTHON, "scripts/reference.py", "--check"),),
}
ACTIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "gen": ((PYTHON, "scripts/generate.py"),),
    "reference": ((PYTHON, "scripts/reference.py"),),
    "reformat": (
        (str(BIN / "ruff"), "format", "."),
        (str(BIN / "ruff"), "check", "--fix", "--quiet", "."),
    ),
    "test": ((PYTHON, "-m", "scripts.test"),),
}


def main(names: list[str]) -> int:
    """Run the named checks, all where none is named; give 1 where one failed."""
    unknown = set(names) - set(CHECKS) - set(ACTIONS)
    if unknown:
        print(f"check: unknown {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    failed = [name for name in names or [*CHECKS, "test"] if not _passes(name)]
    if failed:
        print(f"check: failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _passes(name: str) -> bool:
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}"}
    commands = CHECKS.get(name) or ACTIONS[name]
    codes = [
        subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode for command in commands
    ]
    result = "ok" if not any(codes) else "FAILED"
    print(f"check: {name:10} {result} {time.monotonic() - began:6.1f} s", file=sys.stderr, flush=True)
    return not any(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
