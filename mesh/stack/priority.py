"""How much of the processors a process gets where there are too few: `SOMA_NICE` in its environment.

Linux may group processes by session (autogroup), and each of ours has a session of its own: then a process's
own nice value counts for nothing, and its group's does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from mesh.stack.errors import Code, StackError

VARIABLE = "SOMA_NICE"
"""From 0 (as everything) to 19 (only what nobody else wants)."""
_MOST = 19


def asked_of(environment: Mapping[str, str]) -> int:
    """Give the nice value that an environment asks for; 0 without one.

    Raises:
        StackError: it is not a number from 0 to 19.
    """
    given = environment.get(VARIABLE, "0")
    if not given.isascii() or not given.isdecimal() or int(given) > _MOST:
        raise StackError(
            f"{VARIABLE} is {given!r}",
            fix=f"give a whole number from 0 to {_MOST}",
            code=Code.BAD_SETTING,
        )
    return int(given)


def settle(pid: int, nice: int) -> None:
    """Give a process that was just started, and all that it starts, a nice value; gone is as well."""
    if not nice:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    with contextlib.suppress(OSError):  # no such file where the kernel has no autogroups
        Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")
