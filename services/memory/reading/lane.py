"""Owns a child process that reads documents: one document at a time, within a time.

The child starts with the first document, is kept warm for the next one, and ends when it has been
idle for a while, has read a PDF, or has failed. A document that kills it or takes too long is
refused; the next one gets a new child.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from services.memory.errors import document_unreadable
from services.memory.reading.blocks import Bounds
from services.memory.reading.document import PDF, Reading
from services.memory.reading.passages import Cut

ROOT: Final = Path(__file__).resolve().parents[3]
LONGEST_ANSWER: Final = 64 << 20  # bytes of one line
IDLE_SECONDS: Final = 30.0
# Of processor time in a child's life; it reads many small documents or one large one.
CPU_FACTOR: Final = 20
# What a child that died is seen by: a broken pipe, no whole line, a transport that is closed.
_DIED: Final = (
    OSError,
    RuntimeError,
    ValueError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
)


class Lane:
    """Reads a document at a time in a child process of its own."""

    def __init__(self, *, bounds: Bounds, seconds: float) -> None:
        """Take bounds of a document and of the time for one; start nothing yet."""
        self._bounds = bounds
        self._seconds = seconds
        self._child: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def read(self, content: bytes, media_type: str) -> Reading:
        """Read a document; nobody else may be reading here.

        Raises:
            InvalidArgument: the document cannot be read within its bounds.
        """
        if self._idle is not None:
            self._idle.cancel()
        clean = False
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._answer(content, media_type)
            clean = media_type != PDF
        except TimeoutError:
            raise document_unreadable(f"reading it took longer than {self._seconds:g} s") from None
        except _DIED:
            raise document_unreadable("reading it took more than its bounds allow") from None
        finally:
            if clean:
                self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.let_go)
            else:
                await self.end()
        if "error" in found:
            raise document_unreadable(str(found["error"]))
        return Reading(title=found["title"], passages=tuple(_cut(one) for one in found["passages"]))

    async def _answer(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Ask the child; a new one where the one that was warm died, of whatever it had read before."""
        if self._child is not None:
            try:
                return await self._ask(content, media_type)
            except _DIED:
                await self.end()
        return await self._ask(content, media_type)

    async def _ask(self, content: bytes, media_type: str) -> dict[str, Any]:
        child = await self._running()
        if child.stdin is None or child.stdout is None:
            raise OSError("the reader has no pipes")
        request = {"media_type": media_type, "size": len(content), "bounds": asdict(self._bounds)}
        child.stdin.write(json.dumps(request).encode() + b"\n" + content)
        await child.stdin.drain()
        line = await child.stdout.readuntil(b"\n")
        # Decoding megabytes of passages would hold the loop.
        found: dict[str, Any] = await asyncio.to_thread(json.loads, line)
        return found

    async def _running(self) -> asyncio.subprocess.Process:
        if self._child is None:
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.memory.reading.child"),
                str(max(1, int(self._seconds * CPU_FACTOR))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LONGEST_ANSWER,
                cwd=ROOT,
                env=_environment(),
            )
        return self._child

    def let_go(self) -> None:
        """End a child that has been idle; the event loop reaps it."""
        child, self._child = self._child, None
        if child is not None:
            _kill(child)

    async def end(self) -> None:
        """End the child, and wait until it is gone."""
        if self._idle is not None:
            self._idle.cancel()
        child, self._child = self._child, None
        if child is not None:
            _kill(child)
            await child.wait()


def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()


def _environment() -> dict[str, str]:
    """Give the child the import roots and nothing else: no secret, no address."""
    given = {"PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)), "PYTHONUTF8": "1"}
    measured = os.environ.get("COVERAGE_PROCESS_START")
    return given | ({"COVERAGE_PROCESS_START": measured} if measured else {})


def _cut(content: dict[str, Any]) -> Cut:
    return Cut(
        text=content["text"],
        headings=tuple(content["headings"]),
        start=content["start"],
        end=content["end"],
        page=content["page"],
    )
