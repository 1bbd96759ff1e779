"""Makes sure that what the named processes run on is installed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from mesh.stack.errors import Code, StackError
from mesh.stack.home import CHECKOUT
from mesh.stack.install import jars, marker
from mesh.stack.settings import StackSettings

Tell = Callable[[dict[str, object]], None]


def ensure(settings: StackSettings, names: tuple[str, ...], tell: Tell) -> None:
    """Install what is missing.

    Raises:
        StackError: something cannot be installed.
    """
    if "kafka" in names and "kafka" not in settings.external:
        _jars(settings, tell)


def _jars(settings: StackSettings, tell: Tell) -> None:
    home = settings.home
    wanted = marker.digest(jars.LOCK.read_bytes())
    with marker.lock(home.lib, "jars"):
        if wanted in marker.marks(home.jars):
            return
        tell({"install": "kafka", "state": "running"})
        marker.unmark(home.jars)
        done = subprocess.run(
            [str(home.python), "-m", "mesh.stack.install.jars", str(home.jars)],
            cwd=CHECKOUT,
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
