"""`make test`: a stack of its own, every test, coverage of tests and of the stack's processes.

    python -m scripts.test                 everything
    python -m scripts.test tests/unit ...  some; further arguments go to pytest

Every Python process measures itself (coverage's own start-up hook, switched on by the environment),
so that the services, the workers and the launcher count as well as the tests.

The stack lies in `.soma-test` on ports of its own. It is started by the first test that needs it
(`tests/support/stack.py`) and stopped here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".soma-test"
PORT_BASE = "22000"
LOWEST_COVERAGE = "90"


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
        tested = _python(environment, "pytest", *(arguments or ["tests"]))
    finally:
        stopped = _python(environment, "mesh.cli", "down", "--quiet-if-stopped")
    plain = {name: value for name, value in environment.items() if name != "COVERAGE_PROCESS_START"}
    combined = _python(plain, "coverage", "combine", "--quiet")
    floor = ("--fail-under", LOWEST_COVERAGE) if whole else ()
    measured = _python(plain, "coverage", "report", "--skip-covered", *floor)
    return tested or stopped or combined or measured


def _python(environment: dict[str, str], module: str, *arguments: str) -> int:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
