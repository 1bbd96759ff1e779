"""Triton's models: built by `models.build` in Triton's environment, keyed by what they are made of."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mesh.stack.errors import Code, StackError
from mesh.stack.home import CHECKOUT, Home
from mesh.stack.install import marker

SOURCES = CHECKOUT / "models"
SUFFIXES = (".py", ".json", ".pbtxt", ".safetensors", ".model")


def key(sources: Path, lock: Path) -> str:
    """Give one digest of all that the models are made of; of large files their size and time."""
    parts = [lock.read_bytes()]
    for path in sorted(sources.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file():
            status = path.stat()
            content = (
                f"{status.st_size} {status.st_mtime_ns}".encode()
                if path.suffix == ".safetensors"
                else path.read_bytes()
            )
            parts += [str(path.relative_to(sources)).encode(), content]
    return marker.digest(*parts)


def ensure(home: Home) -> bool:
    """Build the models unless they are built of the same; tell whether something was built.

    Raises:
        StackError: they cannot be built.
    """
    wanted = key(SOURCES, CHECKOUT / "requirements" / "triton.lock")
    repository = home.models / "current" / "repository"
    with marker.lock(home.lib, "models"):
        if wanted in marker.marks(home.models) and repository.is_dir():
            return False
        marker.unmark(home.models)
        done = subprocess.run(
            [str(home.triton / "bin" / "python"), "-m", "models.build", "--out", str(home.models)],
            cwd=CHECKOUT,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(
                f"the models cannot be built: {done.stderr.strip()[-300:]}",
                fix=f"remove {home.models} and run `make up`",
                code=Code.INSTALL_FAILED,
            )
        marker.mark(home.models, wanted)
        return True
