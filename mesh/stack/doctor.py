"""`soma doctor`: what is wrong with the machine or the stack, each with cause, fix and code."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mesh.stack import client, overrides
from mesh.stack.catalogue import BY_NAME, SERVERS
from mesh.stack.errors import Code, NotRunningError, StackError
from mesh.stack.home import Home
from mesh.stack.install import venvs
from mesh.stack.ports import SPAN, Ports
from mesh.stack.settings import StackSettings
from mesh.stack.steps import code_digest

GIB = 1 << 30
DISK_NEEDED, DISK_LOW = 3 * GIB, GIB // 2
MEMORY_NEEDED = 3 * GIB
FILES_NEEDED = 4096
LEAF_OLD = 20 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        subject: the machine's part or the process.
        cause: what is wrong.
        fix: what to do.
        code: its stable name.
        serious: the stack does not work, or will not for long.
    """

    subject: str
    cause: str
    fix: str
    code: str
    serious: bool = True

    def __str__(self) -> str:
        """Give the line that a person reads."""
        word = "FAIL" if self.serious else "WARN"
        return f"{word}  {self.subject}: {self.cause}. Fix: {self.fix} [{self.code}]"

    def as_dict(self) -> dict[str, object]:
        """Give the fields for `-o json`."""
        return asdict(self)


def examine(settings: StackSettings) -> list[Finding]:
    """Check machine and stack; give the findings, the machine's first."""
    return [
        *_machine(settings),
        *_permissions(settings.home),
        *overridden(settings.home.overrides),
        *_stack(settings.home),
    ]


def _machine(settings: StackSettings) -> Iterator[Finding]:
    yield from disk(settings.home)
    yield from memory(Path("/proc/meminfo").read_text(encoding="ascii"))
    yield from ephemeral(
        settings.ports, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_NEEDED:
        yield Finding(
            subject="machine",
            cause=f"a process may open {soft} files only",
            fix=f"ulimit -n {FILES_NEEDED}",
            code="FEW_FILES",
            serious=False,
        )
    if not settings.home.triton.exists() and not any(one.runs_triton for one in venvs.interpreters()):
        yield Finding(
            subject="machine",
            cause="no Python here can run Triton's models",
            fix="install libpython3.11 or a Python 3.13",
            code=Code.LIBRARY_MISSING.value,
        )


def disk(home: Home) -> Iterator[Finding]:
    """Look at the free space: before the installation and afterwards."""
    place = next(folder for folder in (home.root, *home.root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    needed = DISK_LOW if home.venv.exists() else DISK_NEEDED
    if free < needed:
        yield Finding(
            subject="machine",
            cause=f"{free / GIB:.1f} GiB are free on the disk of {place}; {needed / GIB:.1f} are needed",
            fix="free some space, or set SOMA_HOME to another disk",
            code=Code.DISK_FULL.value,
        )


def memory(meminfo: str) -> Iterator[Finding]:
    """Look at `/proc/meminfo`: the whole stack holds about 2 GiB."""
    fields = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    total = int(fields["MemTotal"].split()[0]) * 1024
    if total < MEMORY_NEEDED:
        yield Finding(
            subject="machine",
            cause=f"it has {total / GIB:.1f} GiB of memory; the stack needs {MEMORY_NEEDED / GIB:.0f}",
            fix="use a larger machine, or start a part: soma up --only ...",
            code="LITTLE_MEMORY",
            serious=False,
        )


def ephemeral(ports: Ports, kernel_range: str) -> Iterator[Finding]:
    """Look whether the kernel hands out the stack's ports to others."""
    low, high = map(int, kernel_range.split())
    if low < ports.base + SPAN and ports.base <= high:
        yield Finding(
            subject="machine",
            cause=f"the kernel hands out ports {low} to {high}, and the stack's begin at {ports.base}",
            fix="set SOMA_PORT_BASE below that range",
            code="EPHEMERAL_PORTS",
            serious=False,
        )


def _permissions(home: Home) -> Iterator[Finding]:
    for folder in (home.secrets, home.pki):
        for path in sorted(folder.rglob("*")) if folder.exists() else ():
            secret = folder == home.secrets or path.suffix == ".key" or path.name == "key.pem"
            if secret and path.is_file() and path.stat().st_mode & 0o077:
                yield Finding(
                    subject="secrets",
                    cause=f"{path} may be read by others",
                    fix=f"chmod 600 {path}",
                    code="OPEN_SECRET",
                )


def overridden(folder: Path) -> Iterator[Finding]:
    """Look at what operators added to single processes: a file that nobody remembers misleads everybody."""
    for name, path in overrides.all_files(folder):
        known = name in SERVERS or name.removesuffix("-canary") in BY_NAME
        if not known or path.suffix != overrides.SUFFIX:
            yield Finding(
                subject="overrides",
                cause=f"{path} belongs to no process",
                fix="name it <process>.env as in `soma status`, or remove it",
                code="STRAY_OVERRIDE",
            )
            continue
        try:
            names = ", ".join(overrides.read(folder, name)) or "nothing"
        except StackError as error:
            yield Finding(subject=name, cause=error.cause, fix=error.fix, code=error.code.value)
            continue
        yield Finding(
            subject=name,
            cause=f"{path} changes {names} of its environment",
            fix=f"where that is not wanted, remove it and `soma restart {name}`",
            code="OVERRIDDEN",
            serious=False,
        )


def _stack(home: Home) -> Iterator[Finding]:
    try:
        answer: Any = client.tell(home, {"op": "status"})
    except NotRunningError as error:
        yield Finding(subject="stack", cause=error.cause, fix=error.fix, code=error.code.value, serious=False)
        return
    except StackError as error:
        yield Finding(subject="stack", cause=error.cause, fix=error.fix, code=error.code.value)
        return
    if answer["code"] != code_digest():
        yield Finding(
            subject="supervisor",
            cause="it was started from older code than this",
            fix="`soma down`, then `soma up`",
            code="OLD_SUPERVISOR",
            serious=False,
        )
    for row in answer["processes"]:
        yield from process(row)
    yield from _certificates(home)


def process(row: dict[str, Any]) -> Iterator[Finding]:
    """Look at one row of `soma status`."""
    name, failure = row["name"], row.get("failure")
    if failure:
        yield Finding(subject=name, cause=failure["cause"], fix=failure["fix"], code=failure["code"])
    elif row["state"] == "unready":
        yield Finding(
            subject=name,
            cause="it runs and says that it is not ready",
            fix=f"read {row['log']}; if its dependencies are ready, `soma restart {name}`",
            code="UNREADY",
        )
    elif row["state"] != "ready":
        yield Finding(subject=name, cause=f"it is {row['state']}", fix="`soma up`", code="NOT_UP")
    elif row["restarts"]:
        yield Finding(
            subject=name,
            cause=f"it died and was started again {row['restarts']} times (last exit {row['last_exit']})",
            fix=f"read {row['log']}",
            code="RESTARTED",
            serious=False,
        )


def _certificates(home: Home) -> Iterator[Finding]:
    now = time.time()
    for leaf in sorted(home.pki.glob("*/cert.pem")):
        age = now - leaf.stat().st_mtime
        if age > LEAF_OLD:
            yield Finding(
                subject="certificates",
                cause=f"{leaf.parent.name}'s is {age / 3600:.0f} h old and lasts 24",
                fix="`soma mesh rotate`, or `soma up`",
                code="OLD_CERTIFICATE",
            )
