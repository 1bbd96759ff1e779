"""The two faults of every process: it comes back as another one, or it stands still and goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from mesh.stack.catalogue import BY_NAME, SERVERS
from tests.chaos.faults import FAULTS
from tests.chaos.faults.processes import family, kill, ready, silence
from tests.support.stack import Stack

SECONDS = 120


def state(pid: int) -> str:
    """A process's state: `T` where it was stopped (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_every_process_can_be_killed_and_silenced() -> None:
    names = {fault.name for fault in FAULTS}
    assert names >= {f"{fault} {one}" for fault in ("kill", "silence") for one in (*SERVERS, *BY_NAME)}


async def test_a_killed_process_is_ready_again_as_another_one(stack: Stack) -> None:
    before = await ready(stack, "worker-outbox")
    await kill(stack, Random(1), process="worker-outbox")
    assert await ready(stack, "worker-outbox") != before


async def test_a_silenced_server_stands_still_with_its_children_and_goes_on(stack: Stack) -> None:
    pid = await ready(stack, "postgres")
    silent = asyncio.create_task(silence(stack, Random(1), process="postgres"))
    async with asyncio.timeout(SECONDS):
        while state(pid) != "T":  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.02)
    assert len(family(pid)) > 1
    assert {state(one) for one in family(pid)} == {"T"}
    await silent
    assert state(pid) != "T"
    await stack.ready(seconds=SECONDS)
