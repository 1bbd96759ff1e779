"""uv, which installs everything else: the one on PATH, else a pinned one by pip.

A machine may have pip and no uv, or uv and no pip; with neither there is a clear error. pip runs
with `--target` and hashes, so that nothing of the machine's own Python changes.

Standard library only (see `mesh.stack.errors`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mesh.stack.errors import Code, StackError
from mesh.stack.home import CHECKOUT, Home
from mesh.stack.install import marker

LOCK = CHECKOUT / "requirements" / "installer.lock"
BY_HAND = "install uv (https://docs.astral.sh/uv) or Python's pip, then run again"


def find(home: Home) -> Path:
    """Give a uv to run.

    Raises:
        StackError: there is none and pip cannot bring one.
    """
    found = shutil.which("uv")
    if found:
        return Path(found)
    with marker.lock(home.lib, "uv"):
        return _own(home)


def _own(home: Home) -> Path:
    folder = home.lib / "uv"
    wanted = marker.digest(LOCK.read_bytes())
    program = folder / "bin" / "uv"
    if wanted in marker.marks(folder) and program.exists():
        return program
    python = _python_with_pip()
    marker.unmark(folder)
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(
        [
            *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
            *("--target", str(folder), "-r", str(LOCK)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not program.exists():
        raise StackError(
            f"pip cannot install uv: {done.stderr.strip()[-300:]}", fix=BY_HAND, code=Code.INSTALL_FAILED
        )
    marker.mark(folder, wanted)
    return program


def _python_with_pip() -> str:
    for name in (sys.executable, "python3"):
        python = shutil.which(name)
        if (
            python
            and not subprocess.run(
                [python, "-m", "pip", "--version"], capture_output=True, check=False
            ).returncode
        ):
            return python
    raise StackError("neither uv nor pip is on this machine", fix=BY_HAND, code=Code.INSTALLER_MISSING)


def run(uv: Path, *arguments: str) -> None:
    """Run uv quietly.

    Raises:
        StackError: it failed; the cause is what it said.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment["UV_LINK_MODE"] = environment.get("UV_LINK_MODE", "hardlink")
    done = subprocess.run(
        [str(uv), *arguments, "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=CHECKOUT / "requirements",
    )
    if done.returncode:
        said = " ".join(done.stderr.split())
        full = "No space left" in said
        raise StackError(
            f"uv {arguments[0]} {arguments[1] if len(arguments) > 1 else ''} failed: {said[-400:]}",
            fix="free some space (2.5 GB)" if full else "check the network (proxy, private CA) and run again",
            code=Code.DISK_FULL if full else Code.INSTALL_FAILED,
        )
