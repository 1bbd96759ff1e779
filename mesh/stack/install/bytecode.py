"""Python's bytecode, written once after an installation.

A dozen processes that start at once on a fresh environment would each compile the same hundred
packages; one process that imports everything beforehand, beside the download of jars and models,
saves that.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mesh.stack.catalogue import WORKLOADS
from mesh.stack.home import CHECKOUT, Home
from mesh.stack.install import marker

LOCK = CHECKOUT / "requirements" / "soma.lock"


def ensure(home: Home) -> None:
    """Import what the workloads import, once for each lock; a module that fails is left to its process."""
    wanted = marker.digest(LOCK.read_bytes())
    done = home.lib / "bytecode"
    done.mkdir(exist_ok=True)
    if wanted in marker.marks(done):
        return
    modules = [f"{one.module}.wiring" for one in WORKLOADS if _exists(one.module)]
    lines = ["import contextlib"]
    for module in (*modules, "mesh.stack.vectors.server", "mesh.stack.first_run"):
        lines += ["with contextlib.suppress(Exception):", f"    import {module}"]
    subprocess.run(
        [str(home.python), "-c", "\n".join(lines)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'gen' / 'python'}"},
        capture_output=True,
        check=False,
    )
    marker.mark(done, wanted)


def _exists(module: str) -> bool:
    return Path(CHECKOUT, *module.split("."), "wiring.py").exists()
