"""Short-lived commands of the launcher; a cancelled one leaves nothing running."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mesh.stack.accounts import Account
from mesh.stack.processes import kill_group


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left: its exit code and what it wrote."""

    code: int
    output: str
    error: str


async def run(
    argv: tuple[str, ...],
    *,
    directory: Path,
    environment: Mapping[str, str],
    account: Account | None = None,
) -> Finished:
    """Run a command to its end, in a session of its own."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=directory,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    try:
        output, error = await process.communicate()
    except asyncio.CancelledError:
        kill_group(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return Finished(process.returncode or 0, output.decode(errors="replace"), error.decode(errors="replace"))
