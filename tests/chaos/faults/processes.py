"""kill -9 and SIGSTOP of every process: dead, and alive but dead."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import signal
import time
from collections.abc import Sequence

from mesh.stack import client
from mesh.stack.catalogue import BY_NAME, SERVERS
from mesh.stack.processes import all_stats
from tests.chaos.fault import Fault
from tests.support.stack import Stack

PROCESSES = (*SERVERS, *BY_NAME)
SILENT_SECONDS = 5.0
BACK_SECONDS = 150.0
"""A Triton on a loaded machine takes its time."""
LONGEST_WAIT = 1.0
LOOK_EVERY = 0.1


async def kill(stack: Stack, choice: random.Random, *, process: str) -> None:
    """Kill -9 at a random moment; return once the supervisor has it ready again."""
    await asyncio.sleep(choice.uniform(0.0, LONGEST_WAIT))
    pid = await ready(stack, process)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    await ready(stack, process, besides=pid)


async def silence(stack: Stack, choice: random.Random, *, process: str) -> None:
    """Stop a process with its children for some seconds, as a machine that swaps does; let it go on."""
    await asyncio.sleep(choice.uniform(0.0, LONGEST_WAIT))
    pid = await ready(stack, process)
    stopped = family(pid)
    send(stopped, signal.SIGSTOP)
    try:
        await asyncio.sleep(SILENT_SECONDS)
    finally:
        send(stopped, signal.SIGCONT)


def family(pid: int) -> list[int]:
    """Give a process and all that came from it; Postgres's children lead sessions of their own."""
    children: dict[int, list[int]] = {}
    for one in all_stats():
        children.setdefault(one.parent, []).append(one.pid)
    found = [pid]
    for parent in found:  # grows while it is read
        found += children.get(parent, [])
    return found


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to all that still live; the supervisor may have lost patience with some."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def ready(stack: Stack, process: str, *, besides: int = 0) -> int:
    """Wait until a process is ready, with another pid than `besides`; give its pid.

    Raises:
        TimeoutError: it did not come back.
    """
    until = time.monotonic() + BACK_SECONDS
    while True:
        told = await asyncio.to_thread(client.tell, stack.settings.home, {"op": "status"})
        rows = told["processes"]
        assert isinstance(rows, list)
        row = next(one for one in rows if one["name"] == process)
        if row["state"] == "ready" and row["pid"] not in (None, besides):
            return int(row["pid"])
        if time.monotonic() > until:
            raise TimeoutError(f"{process} is {row['state']} after {BACK_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_EVERY)


FAULTS = tuple(
    Fault(name=f"{name} {process}", inject=functools.partial(inject, process=process))
    for process in PROCESSES
    for name, inject in (("kill", kill), ("silence", silence))
)
