"""Pid files, and the end of what a crashed supervisor left behind.

Each child leads a session of its own, so a session's members are the child and all that it
started. A pid file names the leader with its start time; nothing else is ever ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from mesh.stack.errors import Code, StackError
from mesh.stack.home import write_atomically
from mesh.stack.processes import Identity, Stat, boot_id, members, read_stat

PATIENCE = 10.0
STEP = 0.02


def record(folder: Path, process: str, identity: Identity) -> None:
    """Write a child's pid file."""
    write_atomically(folder / f"{process}.json", json.dumps(identity.as_dict()) + "\n")


def forget(folder: Path, process: str) -> None:
    """Remove a child's pid file."""
    (folder / f"{process}.json").unlink(missing_ok=True)


def recorded(folder: Path) -> dict[str, Identity]:
    """Read all pid files; one that a crash cut short is left out and removed."""
    found: dict[str, Identity] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = Identity(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            path.unlink(missing_ok=True)
    return found


def left_behind(folder: Path) -> list[Stat]:
    """Give the living processes that recorded children are or have started."""
    boot = boot_id()
    ours = [one for one in recorded(folder).values() if one.boot == boot and _is_ours(one)]
    started = {one.pid: one.started for one in ours}
    groups = members(frozenset(started))
    return [stat for session, stats in groups.items() for stat in stats if stat.started >= started[session]]


def _is_ours(identity: Identity) -> bool:
    leader = read_stat(identity.pid)
    return leader is None or leader.started == identity.started


def end_all(folder: Path) -> list[str]:
    """Kill what is left behind, wait until it is gone, remove the pid files; give their names.

    Raises:
        StackError: something does not end.
    """
    names = sorted(recorded(folder))
    deadline = time.monotonic() + PATIENCE
    while remaining := left_behind(folder):
        for stat in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stat.pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            pids = ", ".join(str(stat.pid) for stat in remaining)
            raise StackError(
                f"processes of an earlier start do not end (pids {pids})",
                fix="end them by hand, then run `soma up` again",
                code=Code.LOCKED,
            )
        time.sleep(STEP)
    for name in names:
        forget(folder, name)
    return names
