"""What `soma up` does: install what is missing, start the supervisor, wait until all is ready."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh.stack import client, orphans
from mesh.stack.catalogue import BY_NAME, SERVERS, WORKLOADS
from mesh.stack.environment import Environment
from mesh.stack.errors import AlreadyAtWorkError, NotRunningError, storage_failure
from mesh.stack.home import CHECKOUT, Home, write_atomically
from mesh.stack.install import installed
from mesh.stack.plan import plan_of
from mesh.stack.settings import StackSettings
from mesh.stack.workloads import STABLE

Tell = Callable[[client.Message], None]
EVERYTHING = (*SERVERS, *(one.name for one in WORKLOADS))
COMMAND = """#!/bin/sh
# The soma command of the stack in {root}.
SOMA_HOME='{root}' PYTHONPATH='{checkout}:{checkout}/gen/python' exec '{python}' -m mesh.cli "$@"
"""


def bring_up(settings: StackSettings, names: tuple[str, ...], tell: Tell) -> None:
    """Bring the named processes to ready, and all that they need.

    Raises:
        StackError: something is missing or does not start; nothing that this started is left.
    """
    home = settings.home
    with storage_errors(home.root):
        home.make()
        with held(home):
            installed.ensure(settings, plan_of(settings).processes_for(names), tell)
            settings.remember()
            write_command(home)
            if not client.is_running(home):
                client.start_supervisor(home, os.environ)
            for message in client.ask(home, {"op": "up", "processes": list(names)}):
                tell(message)


def bring_down(home: Home, names: tuple[str, ...], tell: Tell) -> None:
    """Stop the named processes; without names all of them and the supervisor.

    Where the supervisor died, what it left behind is ended.

    Raises:
        NotRunningError: there is nothing to stop.
    """
    try:
        for message in client.ask(home, {"op": "stop", "processes": list(names)}):
            tell(message)
    except NotRunningError:
        if not orphans.end_all(home.pids):
            raise


def write_command(home: Home) -> None:
    """Write `bin/soma`, the command that is bound to this home."""
    path = home.root / "bin" / "soma"
    content = COMMAND.format(root=home.root, checkout=CHECKOUT, python=home.python)
    if path.exists() and path.read_text(encoding="utf-8") == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content, mode=0o755)


@contextmanager
def held(home: Home) -> Iterator[None]:
    """Hold the right to change what runs in a home.

    Raises:
        AlreadyAtWorkError: another command holds it.
    """
    descriptor = os.open(home.run / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 64, 0).decode("ascii", errors="replace") or "unknown"
            raise AlreadyAtWorkError(home.root, holder) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}".encode("ascii"), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Say what a failed write means: a full disk, or a folder that is not ours.

    Raises:
        StackError: in place of the system's error.
    """
    try:
        yield
    except OSError as error:
        known = storage_failure(error, place)
        if known is None:
            raise
        raise known from error


def first_run_environment(settings: StackSettings) -> dict[str, str]:
    """Give the environment in which `mesh.stack.first_run` speaks to the edge and to identity."""
    environment = Environment(settings)
    identity = BY_NAME["identity"]
    return environment.of_workload(
        identity,
        process="identity-bootstrap",
        listen=settings.ports.of("identity"),
        metrics=settings.ports.metrics("identity"),
        version=STABLE,
    )


def after_first_run(settings: StackSettings) -> None:
    """Let the supervisor make, in the background, what speeds up the next start."""
    client.tell(settings.home, {"op": "make-archives"})
