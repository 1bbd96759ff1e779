"""`soma` as a person runs it: a program of its own, with or without a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.stack import ROOT, Stack

SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Soma:
    """The command, as one user of a stack."""

    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, stack: Stack, api_key: str) -> Soma:
        """A user by a key."""
        return cls(
            {**os.environ, **stack.environment(), "SOMA_API_KEY": api_key, "PYTHONPATH": import_roots()}
        )

    def with_(self, **changes: str) -> Soma:
        """The same with other variables."""
        return Soma({**self.environment, **changes})

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command and give its process."""
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "mesh.cli", *arguments)
        return await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe
        )

    async def __call__(self, *arguments: str, typed: str = "") -> Ran:
        """Run a command to its end."""
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(typed.encode()), SECONDS)
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())


class Terminal:
    """A pseudo-terminal on which a command runs."""

    def __init__(self, descriptor: int, process: asyncio.subprocess.Process) -> None:
        """Take the terminal's other end and the process on it."""
        self._descriptor = descriptor
        self._process = process
        self.screen = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, soma: Soma, *arguments: str) -> Any:
        """Run a command on a terminal until the block ends."""
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mesh.cli", *arguments),
            cwd=ROOT,
            env={**soma.environment, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        try:
            yield cls(ours, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            os.close(ours)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._descriptor, keys.encode())

    async def until(self, shows: Callable[[str], bool]) -> str:
        """Wait until the screen shows something; give all of it."""
        async with asyncio.timeout(SECONDS):
            while not shows(self.screen):
                with contextlib.suppress(BlockingIOError, OSError):
                    self.screen += os.read(self._descriptor, 65536).decode(errors="replace")
                await asyncio.sleep(0.02)
        return self.screen

    async def ended(self) -> int:
        """Wait for the command's end; give its exit code."""
        return await asyncio.wait_for(self._process.wait(), SECONDS)


def import_roots() -> str:
    """Where the command's code lies."""
    return f"{ROOT}:{ROOT / 'gen' / 'python'}"


def _take_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
