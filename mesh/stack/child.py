"""One child of the supervisor: started in a session of its own, reaped, stopped as a group."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from mesh.stack import priority
from mesh.stack.errors import Code, StackError
from mesh.stack.processes import Identity, kill_group
from mesh.stack.servers.server import Launch

LOG_LIMIT = 20 * 1024 * 1024


@dataclass(slots=True)
class Child:
    """A running process and its exit code, once it has one."""

    process: asyncio.subprocess.Process
    identity: Identity | None
    since: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its process id, which is its session's and group's too."""
        return self.process.pid

    @classmethod
    async def spawn(cls, launch: Launch, log: Path) -> Child:
        """Start it with its output appended to a log file.

        Raises:
            StackError: the program cannot be started.
        """
        account, nice = launch.account, priority.asked_of(launch.environment)
        with open_log(log) as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *launch.argv,
                    cwd=launch.directory,
                    env=dict(launch.environment),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )
            except OSError as error:
                raise StackError(
                    f"cannot start {launch.argv[0]}: {error.strerror}",
                    fix="run `make up`, which installs what is missing, or `soma doctor`",
                    code=Code.NOT_INSTALLED,
                ) from error
        priority.settle(process.pid, nice)
        return cls(process, Identity.of(process.pid))

    async def ended(self) -> int:
        """Wait for its end, then end what it left in its group; give its exit code."""
        code = await self.process.wait()
        kill_group(self.pid, signal.SIGKILL)
        return code

    async def stop(self, number: signal.Signals, *, grace: float) -> None:
        """Ask it to end; end its group by force after `grace` seconds."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        try:
            async with asyncio.timeout(grace):
                await self.process.wait()
        except TimeoutError:
            kill_group(self.pid, signal.SIGKILL)
            await self.process.wait()
        kill_group(self.pid, signal.SIGKILL)


def open_log(path: Path) -> _Log:
    """Open a log for appending; one that grew too large is set aside first."""
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return _Log(path)


class _Log:
    """A file descriptor that is closed again in the parent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def tail(path: Path, lines: int) -> list[str]:
    """Give the last lines of a log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 200 * lines - 4096))
            content = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return content.splitlines()[-lines:]
