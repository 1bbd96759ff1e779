"""Makes sure that what the named processes run on is installed; what is missing, side by side."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mesh.stack.errors import Code, StackError
from mesh.stack.home import CHECKOUT, Home
from mesh.stack.install import bytecode, jars, marker, models, venvs
from mesh.stack.settings import StackSettings

Tell = Callable[[dict[str, object]], None]


def ensure(settings: StackSettings, names: frozenset[str], tell: Tell) -> None:
    """Install what is missing.

    Raises:
        StackError: something cannot be installed.
    """
    home = settings.home
    work: list[Callable[[], None]] = [lambda: bytecode.ensure(home)]
    if "kafka" in names:
        work.append(lambda: _jars(home, tell))
    if "triton" in names:
        work.append(lambda: _models(home, tell))
    with ThreadPoolExecutor(len(work)) as workers:
        for pending in [workers.submit(one) for one in work]:
            pending.result()


def _models(home: Home, tell: Tell) -> None:
    venvs.ensure_triton(home)
    tell({"install": "models", "state": "running"})
    models.ensure(home)
    tell({"install": "models", "state": "done"})


def _jars(home: Home, tell: Tell) -> None:
    wanted = marker.digest(jars.LOCK.read_bytes())
    with marker.lock(home.lib, "jars"):
        if wanted in marker.marks(home.jars):
            return
        tell({"install": "kafka", "state": "running"})
        marker.unmark(home.jars)
        done = subprocess.run(
            [str(home.python), "-m", "mesh.stack.install.jars", str(home.jars)],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(
                f"Kafka's jars cannot be installed: {done.stderr.strip()[-300:]}",
                fix="check the network (a proxy? a private CA: REQUESTS_CA_BUNDLE) and run again",
                code=Code.INSTALL_FAILED,
            )
        marker.mark(home.jars, wanted)
        tell({"install": "kafka", "state": "done"})
