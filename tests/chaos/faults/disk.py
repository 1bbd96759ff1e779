"""A full disk for each server that writes: its data is moved to a small file system, which is filled.

The server is stopped in order, its data copied to a tmpfs that is mounted in the folder's place, and the
server started again. Then a file fills the rest; writes are refused; the file goes away. At the end the data
is copied back. That takes the right to mount: other users cannot run these faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

from tests.chaos.fault import CannotRunHere, Fault
from tests.support.stack import Stack, soma

MIB = 1 << 20
SERVERS = ("postgres", "redis", "kafka", "vectors", "temporal")
LOGGERS = ("orchestrator", "gateway", "worker-slm", "memory", "audit")
IN_SHORT_RUN = frozenset({"redis"})
ROOM = {"postgres": 48 * MIB, "kafka": 48 * MIB}
USUAL_ROOM = 16 * MIB
MAPPED = frozenset({"vectors"})
"""Servers that map whole files when they start: a tmpfs gives a page to each hole that is looked at."""
SHORTEST, LONGEST = 5.0, 9.0
BREATH = 2.0
COPY_SECONDS = 120.0
READY_SECONDS = 120.0
BALLAST = "ballast"
PIECE = 256 * 1024


class SmallDisk:
    """A small file system that can be filled."""

    def __init__(self, place: Path) -> None:
        """Take the folder that it is mounted at."""
        self._ballast = place / BALLAST

    def fill(self) -> None:
        """Leave no room: what is freed meanwhile is taken too, to the last byte."""
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for piece in (PIECE, 4096, 1):
                with contextlib.suppress(OSError):
                    while os.write(descriptor, b"\0" * piece) == piece:
                        pass
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    async def full(self, seconds: float) -> None:
        """Be full for a time, and then not."""
        try:
            until = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < until:
                self.fill()
                await asyncio.sleep(0.5)
        finally:
            self.free()


@contextlib.asynccontextmanager
async def small_disk(stack: Stack, server: str) -> AsyncIterator[SmallDisk]:
    """Put a server's data on a small disk until the block ends.

    Raises:
        CannotRunHere: this user may not mount.
    """
    _may_mount()
    place = stack.settings.home.data(server).resolve()
    aside = place.with_name(f"{place.name}.aside")
    await soma(stack.settings, "down", server)
    place.rename(aside)
    place.mkdir(mode=0o700)
    try:
        await _mount(place, _size_of(aside, holes=server in MAPPED) + ROOM.get(server, USUAL_ROOM))
        await _copy(aside, place)
        await soma(stack.settings, "up", "--only", server)
        yield SmallDisk(place)
        await until_ready(stack, server)
    finally:
        await soma(stack.settings, "down", server)
        back = place.with_name(f"{place.name}.back")
        if _is_mounted(place):
            (place / BALLAST).unlink(missing_ok=True)
            back.mkdir(mode=0o700)
            await _copy(place, back)
            await _run("umount", str(place))
        place.rmdir()
        (back if back.exists() else aside).rename(place)
        await _run("rm", "-rf", str(aside))
        await soma(stack.settings, "up", "--only", server)


@contextlib.asynccontextmanager
async def small_log_disk(stack: Stack, process: str) -> AsyncIterator[SmallDisk]:
    """Let one process write its log to a small disk until the block ends.

    Raises:
        CannotRunHere: this user may not mount.
    """
    _may_mount()
    place = stack.settings.home.log.resolve()
    await _mount(place, USUAL_ROOM)
    try:
        await stack.restart(process)
        yield SmallDisk(place)
    finally:
        await _run("umount", "--lazy", str(place))
        await stack.restart(process)


async def until_ready(stack: Stack, server: str) -> None:
    """Wait until a server is ready by itself."""
    async with asyncio.timeout(READY_SECONDS):
        while (await stack.process(server)).state != "ready":  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.2)


async def fill(stack: Stack, choice: random.Random, *, server: str) -> None:
    """Fill a server's disk, and free it."""
    async with small_disk(stack, server) as disk:
        await disk.full(choice.uniform(SHORTEST, LONGEST))
        await asyncio.sleep(BREATH)


async def fill_log(stack: Stack, choice: random.Random) -> None:
    """Fill the disk that a process writes its log to, and free it."""
    async with small_log_disk(stack, choice.choice(LOGGERS)) as disk:
        await disk.full(choice.uniform(SHORTEST, LONGEST))
        await asyncio.sleep(BREATH)


def _may_mount() -> None:
    if os.geteuid() != 0:
        raise CannotRunHere("a small file system can be mounted by root only")


def _size_of(folder: Path, *, holes: bool) -> int:
    # What lies there by blocks, or by length where holes count, and as much again for each file's last page.
    files = [path.lstat() for path in folder.rglob("*")]
    return sum((status.st_size if holes else status.st_blocks * 512) + 4096 for status in files)


def _is_mounted(place: Path) -> bool:
    return place.is_mount()


def _owner(place: Path) -> str:
    status = place.stat()
    return f"mode={status.st_mode & 0o777:o},uid={status.st_uid},gid={status.st_gid}"


async def _mount(place: Path, size: int) -> None:
    options = f"size={size},{_owner(place)}"
    try:
        await _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place))
    except OSError as error:
        raise CannotRunHere(f"a small file system cannot be mounted: {error}") from error


async def _copy(source: Path, target: Path) -> None:
    await _run("cp", "-a", "--sparse=always", f"{source}/.", str(target))


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(process.communicate(), COPY_SECONDS)
    if process.returncode:
        raise OSError(f"{command[0]}: {said.decode(errors='replace').strip()}")


FAULTS: tuple[Fault, ...] = (
    *(
        Fault(
            name=f"full disk of {one}",
            inject=functools.partial(fill, server=one),
            long_only=one not in IN_SHORT_RUN,
        )
        for one in SERVERS
    ),
    Fault(name="full disk of logs", inject=fill_log),
)
