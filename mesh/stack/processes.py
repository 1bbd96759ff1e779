"""Operating-system processes by pid and start time, from `/proc`.

A pid alone proves nothing after a crash: the kernel may have given it to another program. A pid
with its start time (in clock ticks since boot) and the boot's id is one process for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of one boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Identify a running process; None where there is none (a zombie is none)."""
        status = read_stat(pid)
        if status is None or status.zombie:
            return None
        return cls(pid, status.started, boot_id())

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        return Identity.of(self.pid) == self

    def as_dict(self) -> dict[str, int | str]:
        """Give the fields for a pid file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Stat:
    """What the launcher needs of `/proc/<pid>/stat`."""

    pid: int
    parent: int
    session: int
    started: int
    zombie: bool


def boot_id() -> str:
    """Give the kernel's id of this boot."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read_stat(pid: int) -> Stat | None:
    """Read a process's status; None where there is none."""
    try:
        line = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parse_stat(line)


def parse_stat(line: str) -> Stat:
    """Read a line of `/proc/<pid>/stat` (proc_pid_stat(5)); the name may hold blanks and brackets."""
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    return Stat(
        pid=int(head.split(" ", 1)[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        started=int(fields[19]),
        zombie=fields[0] in ("Z", "X"),
    )


def all_stats() -> Iterator[Stat]:
    """Give the status of every process, zombies included."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            status = read_stat(int(entry.name))
            if status is not None:
                yield status


def members(sessions: frozenset[int]) -> dict[int, list[Stat]]:
    """Give the living processes of each session, by the session's id."""
    found: dict[int, list[Stat]] = {session: [] for session in sessions}
    for status in all_stats():
        if status.session in sessions and not status.zombie:
            found[status.session].append(status)
    return found


def resident_bytes(pids: list[int]) -> int:
    """Give the memory that processes hold together; pages that they share count once."""
    if len(pids) == 1:
        return _kibibytes(pids[0], "status", "VmRSS:") * 1024
    return sum(_kibibytes(pid, "smaps_rollup", "Pss:") for pid in pids) * 1024


def _kibibytes(pid: int, file: str, field: str) -> int:
    try:
        text = (PROC / str(pid) / file).read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    lines = (line for line in text.splitlines() if line.startswith(field))
    return int(next(lines, f"{field} 0").split()[1])


def kill_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process group, if it still has members."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def listener(port: int) -> str | None:
    """Name the process that listens on a TCP port, as far as this user may see it."""
    inode = None
    for table in ("net/tcp", "net/tcp6"):
        for line in (PROC / table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inode = fields[9]
    return None if inode is None else _holder(f"socket:[{inode}]")


def _holder(target: str) -> str | None:
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) == target for link in (entry / "fd").iterdir()):
                name = (entry / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"pid {entry.name} ({name})"
    return None
