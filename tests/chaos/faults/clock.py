"""A process's clock that is wrong: it jumps five minutes forth and back at work (libfaketime).

Only the time of day is wrong; the clock that measures spans of time is right, as after a step of NTP.
The library is the system's, or Debian's package unpacked into `$SOMA_LIB/faketime`; nothing is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from mesh.stack.home import write_atomically
from tests.chaos.fault import CannotRunHere, Fault
from tests.chaos.faults.changed import changed
from tests.support.stack import Stack

LIBRARY = "libfaketimeMT.so.1"
WRONG_SECONDS = 300
HELD_SECONDS = 6.0
RIGHT_SECONDS = 2.0
FETCH_SECONDS = 60.0
VICTIMS = ("identity", "policy", "orchestrator", "worker-slm", "redis")
IN_SHORT_RUN = frozenset({"orchestrator", "redis"})


class Clock:
    """The clock of one process, as far off as it was last set."""

    def __init__(self, file: Path) -> None:
        """Take the file in which the process reads how far off it is; set it right."""
        self._file = file
        self.set(0)

    def set(self, seconds: int) -> None:
        """Put the clock that many seconds forth; the process sees it within a second."""
        write_atomically(self._file, f"{seconds:+d}\n", mode=0o644)


@contextlib.asynccontextmanager
async def clock_of(stack: Stack, process: str) -> AsyncIterator[Clock]:
    """Run a process with a clock of its own until the block ends.

    Raises:
        CannotRunHere: there is no libfaketime, and none can be had.
    """
    library = await _library(stack.settings.home.lib)
    file = stack.settings.home.run / f"clock-{process}"
    clock = Clock(file)
    variables = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    try:
        async with changed(stack, process, variables):
            yield clock
    finally:
        file.unlink(missing_ok=True)


async def jump(stack: Stack, choice: random.Random, *, process: str) -> None:
    """Let a process's clock jump five minutes off each way, and back."""
    async with clock_of(stack, process) as clock:
        for sign in choice.sample((-1, 1), 2):
            clock.set(sign * WRONG_SECONDS)
            await asyncio.sleep(HELD_SECONDS)
            clock.set(0)
            await asyncio.sleep(RIGHT_SECONDS)


async def _library(lib: Path) -> Path:
    found = next(_installed(lib), None)
    if found is not None:
        return found
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise CannotRunHere(f"{LIBRARY} is not installed, and without Debian's tools there is none to be had")
    folder = lib / "faketime"
    folder.mkdir(parents=True, exist_ok=True)
    script = "apt-get -q download libfaketime && dpkg-deb -x libfaketime_*.deb ."
    fetching = await asyncio.create_subprocess_exec(
        *("sh", "-c", script),
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(fetching.communicate(), FETCH_SECONDS)
    found = next(_installed(lib), None)
    if found is None:
        raise CannotRunHere(f"{LIBRARY} cannot be had: {said.decode(errors='replace')[-300:]}")
    return found


def _installed(lib: Path) -> Iterator[Path]:
    for place in (Path("/usr/lib"), lib / "faketime" / "usr" / "lib"):
        yield from sorted(place.glob(f"*/faketime/{LIBRARY}"))


FAULTS: tuple[Fault, ...] = tuple(
    Fault(
        name=f"wrong clock of {one}",
        inject=functools.partial(jump, process=one),
        long_only=one not in IN_SHORT_RUN,
    )
    for one in VICTIMS
)
