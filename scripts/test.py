"""`make test`: a stack of its own, every test, coverage of tests and of the stack's processes.

    python -m scripts.test                 everything
    python -m scripts.test tests/unit ...  some; further arguments go to pytest

Every Python process measures itself (coverage's own start-up hook, switched on by the environment),
so that the services, the workers and the launcher count as well as the tests.

The stack lies in `.soma-test` on ports of its own. It is started by the first test that needs it
(`tests/support/stack.py`) and stopped here.

The tests break real servers on a machine that other work may be loading. Where at most five tests
failed, they are run once more, alone; one that passes then is named as unsteady in the output, and
is a defect to look into. One that fails again fails the run, and so do six that failed once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".soma-test"
PORT_BASE = "22000"
LOWEST_COVERAGE = "90"
MOST_AGAIN = 5
TESTS_FAILED = 1  # pytest's exit code
FAILED_BEFORE = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"


def main(arguments: list[str]) -> int:
    """Run pytest; give its exit code, or coverage's where the tests passed."""
    coverage = HOME / "coverage"
    shutil.rmtree(coverage, ignore_errors=True)
    coverage.mkdir(parents=True)
    environment = {
        **os.environ,
        "SOMA_HOME": str(HOME),
        "SOMA_PORT_BASE": os.environ.get("SOMA_TEST_PORT_BASE", PORT_BASE),
        "SOMA_COVERAGE": str(ROOT / "pyproject.toml"),
        "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"),
        "COVERAGE_FILE": str(coverage / "data"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}",
    }
    whole = not arguments
    try:
        tested = _tested(environment, arguments or ["tests"])
    finally:
        stopped = _python(environment, "mesh.cli", "down", "--quiet-if-stopped")
    plain = {name: value for name, value in environment.items() if name != "COVERAGE_PROCESS_START"}
    combined = _python(plain, "coverage", "combine", "--quiet")
    floor = ("--fail-under", LOWEST_COVERAGE) if whole else ()
    measured = _python(plain, "coverage", "report", "--skip-covered", *floor)
    return tested or stopped or combined or measured


def _tested(environment: dict[str, str], arguments: list[str]) -> int:
    """Run the tests, and a few that failed once more; give pytest's exit code."""
    FAILED_BEFORE.unlink(missing_ok=True)
    code = _python(environment, "pytest", *arguments)
    failed = _failed()
    if code != TESTS_FAILED or not 0 < len(failed) <= MOST_AGAIN:
        return code
    print("test: once more, alone:", *failed, sep="\n  ", file=sys.stderr, flush=True)
    code = _python(environment, "pytest", *failed)
    still = _failed() if code else []
    unsteady = [name for name in failed if name not in still]
    print(f"test: {len(unsteady)} unsteady", *unsteady, sep="\n  ", file=sys.stderr, flush=True)
    return code


def _failed() -> list[str]:
    """Name the tests that failed in the last run."""
    return sorted(json.loads(FAILED_BEFORE.read_text())) if FAILED_BEFORE.is_file() else []


def _python(environment: dict[str, str], module: str, *arguments: str) -> int:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
