"""What `scripts/bootstrap.py` does once Python is new enough: both environments, then the command.

Standard library only (see `mesh.stack.errors`).
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from mesh.stack.errors import StackError, storage_failure
from mesh.stack.home import CHECKOUT, Home
from mesh.stack.install import venvs


def main(arguments: list[str]) -> int:
    """Install and become the command; a failure is one line and exit code 1."""
    development = arguments[:1] == ["--dev"]
    command = arguments[1:] if development else arguments
    home = Home.from_environment(os.environ)
    try:
        _install(home, development=development)
    except StackError as error:
        print(f"soma: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("soma: interrupted", file=sys.stderr)
        return 130
    if not command:
        return 0
    os.environ["PYTHONPATH"] = f"{CHECKOUT}:{CHECKOUT / 'gen' / 'python'}"
    return become(home.python, "-m", *command)


def become(program: Path, *arguments: str) -> NoReturn:
    """Replace this process by a program."""
    os.execv(program, [str(program), *arguments])  # noqa: S606 - the very purpose: no shell between


def _install(home: Home, *, development: bool) -> None:
    missing = not (home.python.exists() and (home.triton / "bin").exists())
    if missing:
        print(f"installing into {home.lib}: this happens once", file=sys.stderr, flush=True)
    try:
        home.lib.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(2) as workers:
            made = [
                workers.submit(venvs.ensure_platform, home, development=development),
                workers.submit(venvs.ensure_triton, home),
            ]
            for one in made:
                one.result()
    except OSError as error:
        known = storage_failure(error, home.lib)
        if known is None:
            raise
        raise known from error
