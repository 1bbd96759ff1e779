"""A process that dies for want of room comes back by itself once there is some, however long that takes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from mesh.stack.catalogue import Kind
from mesh.stack.errors import Code, StackError
from mesh.stack.home import Home
from mesh.stack.keeper import Keeper
from mesh.stack.lifecycle import RestartPolicy, State
from mesh.stack.servers.server import Launch

PATIENCE = 60.0
QUICK = RestartPolicy(first=0.01, longest=0.02, window=120.0, limit=3)
WRITER = """
import pathlib, sys, time
place = pathlib.Path(sys.argv[1])
with open(place / "data", "wb", 0) as file:
    file.write(b"what it needs to keep")
(place / "ready").touch()
time.sleep(600)
"""


@dataclass
class Writer:
    """A program that keeps something in a file, and dies where that is refused."""

    folder: Path
    starts: int = 0
    name: str = "writer"
    kind: Kind = Kind.SERVER
    needs: tuple[str, ...] = ()
    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM

    async def prepare(self) -> None:
        self.starts += 1

    def launch(self) -> Launch:
        command = (sys.executable, "-I", "-S", "-c", WRITER, str(self.folder))
        return Launch(argv=command, directory=self.folder, environment={})

    async def ready(self) -> bool:
        return (self.folder / "ready").exists()


def kept(folder: Path) -> tuple[Keeper, Writer]:
    home = Home(root=folder / "home", lib=folder / "lib")
    home.make()
    home.data("writer").mkdir()
    writer = Writer(home.data("writer"))
    return Keeper(writer, home, policy=QUICK, changed=lambda _: None), writer


async def ready(keeper: Keeper) -> None:
    async with asyncio.timeout(PATIENCE):
        while keeper.lifecycle.state is not State.READY:  # noqa: ASYNC110 - as a person looks at it
            await asyncio.sleep(0.02)
    assert keeper.failure is None


async def starts(keeper: Keeper, writer: Writer, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while keeper.running and writer.starts < count:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.02)


def running_in(folder: Path) -> list[int]:
    """The processes of the program on this folder, whoever knows of them."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if str(folder) in (one.info["cmdline"] or ())]


async def test_more_deaths_than_the_limit_are_not_the_end_while_the_disk_is_full(tmp_path: Path) -> None:
    keeper, writer = kept(tmp_path)
    (writer.folder / "data").symlink_to("/dev/full")
    keeper.start()
    with pytest.raises(StackError) as told:
        await asyncio.wait_for(keeper.reach(patient=True), PATIENCE)
    assert told.value.code is Code.DISK_FULL
    await starts(keeper, writer, 3 * QUICK.limit)
    assert keeper.lifecycle.state in (State.BACKOFF, State.STARTING)

    (writer.folder / "data").unlink()
    await ready(keeper)
    await keeper.stop(grace=1.0)


async def test_a_pid_file_that_finds_no_room_leaves_no_process_behind(tmp_path: Path) -> None:
    keeper, writer = kept(tmp_path)
    place = tmp_path / "home" / "run" / "pids"
    draft = place / f".writer.json.{os.getpid()}"
    draft.symlink_to("/dev/full")
    keeper.start()
    await starts(keeper, writer, 2 * QUICK.limit)
    assert keeper.failure is not None
    assert keeper.failure.code is Code.DISK_FULL
    draft.unlink()
    await ready(keeper)
    assert keeper.child is not None
    assert running_in(writer.folder) == [keeper.child.pid]
    await keeper.stop(grace=1.0)
    assert running_in(writer.folder) == []


async def test_a_program_that_dies_for_another_reason_is_given_up(tmp_path: Path) -> None:
    keeper, writer = kept(tmp_path)
    (writer.folder / "data").mkdir()
    keeper.start()
    await starts(keeper, writer, QUICK.limit + 1)
    assert writer.starts == QUICK.limit
    assert keeper.lifecycle.state is State.FAILED
