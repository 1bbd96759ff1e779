"""The supervisor's control socket: one JSON line asks, JSON lines answer.

    {"op": "up", "processes": [...]}       progress events, then done
    {"op": "status"}                       the rows of `soma status`
    {"op": "stop", "processes": [...]}     without processes: everything, and the supervisor too
    {"op": "restart", "process": "slm"}
    {"op": "roll", "process": "slm"}       a successor first, then the end of the old one
    {"op": "start-canary", "service": "slm", "code": "/path", "env": {...}}
    {"op": "stop-canary", "service": "slm"}
    {"op": "make-archives"}                in the background: Kafka's next start is quicker

The last line of an answer is `{"done": true, ...}` or `{"error": {cause, fix, code}}`. Who asks for
the first `up` and goes away before it is done takes the whole stack along: nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mesh.stack.errors import Code, StackError
from mesh.stack.home import Home

if TYPE_CHECKING:
    from mesh.stack.supervisor import Supervisor

LINE_LIMIT = 1 << 20
LAST_WORDS = 2.0
Request = dict[str, object]
Say = Callable[[dict[str, object]], None]


class _MisunderstoodError(Exception):
    """A request that has no meaning."""


class Control:
    """Serves the control socket while it is entered."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Take whom to command."""
        self._supervisor = supervisor
        self._path = supervisor.settings.home.socket
        self._server: asyncio.Server | None = None
        self._starts: set[asyncio.Task[None]] = set()
        self._conversations: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Control:
        """Listen. The socket is bound by its bare name: a full path may be too long for a socket."""
        os.chdir(self._path.parent)
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._converse, path=self._path.name, limit=LINE_LIMIT
            )
        finally:
            os.umask(before)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening; let those who asked hear the end of their answer."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        if self._conversations:
            await asyncio.wait(self._conversations, timeout=LAST_WORDS)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.create_task(self._answer_one(reader, writer), name="conversation")
        self._conversations.add(own)
        own.add_done_callback(self._conversations.discard)

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(message: dict[str, object]) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(message).encode() + b"\n")

        try:
            request = json.loads(await reader.readline() or b"{}")
            await self._answer(request, reader, say)
        except StackError as error:
            say({"error": error.as_dict()})
        except (_MisunderstoodError, json.JSONDecodeError) as error:
            refused = StackError(
                f"the supervisor does not understand: {error}",
                fix="stop the stack with `soma down` and start it again",
                code=Code.BAD_REQUEST,
            )
            say({"error": refused.as_dict()})
        except Exception as error:  # noqa: BLE001 - who asked must hear of it, whatever it is
            traceback.print_exception(error)
            say({"error": _unexpected(error, self._supervisor.settings.home).as_dict()})
        finally:
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, say: Say) -> None:
        supervisor, operation = self._supervisor, request.get("op")
        match operation:
            case "up":
                await self._up(_names(request, "processes"), reader, say)
            case "status":
                rows = await supervisor.status()
                say({"done": True, "processes": rows, "code": supervisor.code})
                return
            case "stop":
                names = _names(request, "processes")
                if not names:
                    await self._shut_down(say)
                    return
                await supervisor.stop(names)
            case "restart" | "roll":
                replace = supervisor.roll if operation == "roll" else supervisor.restart
                await replace(_name(request, "process"))
            case "start-canary":
                code = request.get("code")
                extra = request.get("env") or {}
                if not isinstance(extra, dict):
                    raise _MisunderstoodError("env is no object")
                await supervisor.start_canary(
                    _name(request, "service"), Path(str(code)) if code else None, extra
                )
            case "stop-canary":
                await supervisor.stop_canary(_name(request, "service"))
            case "make-archives":
                supervisor.background.make_archives()
            case _:
                raise _MisunderstoodError(f"operation {operation!r} is unknown")
        say({"done": True})

    async def _up(self, names: list[str], reader: asyncio.StreamReader, say: Say) -> None:
        supervisor = self._supervisor
        first = not supervisor.keepers
        supervisor.listeners.append(say)
        work = asyncio.create_task(supervisor.up(names), name="up")
        left = asyncio.create_task(reader.read(1), name="asker left")
        self._starts.add(work)
        reached = False
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
            await work
            reached = True
        finally:
            if first and not reached:
                await supervisor.shut_down()
            self._starts.discard(work)
            supervisor.listeners.remove(say)
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)

    async def _shut_down(self, say: Say) -> None:
        for work in self._starts:
            work.cancel()
        self._supervisor.listeners.append(say)
        await self._supervisor.shut_down()
        say({"done": True})


def _unexpected(error: Exception, home: Home) -> StackError:
    return StackError(
        f"the supervisor failed: {type(error).__name__}: {error}",
        fix=f"read {home.log_of('supervisor')}",
        code=Code.SUPERVISOR_FAILED,
    )


def _names(request: Request, key: str) -> list[str]:
    value = request.get(key) or []
    if not isinstance(value, list):
        raise _MisunderstoodError(f"{key} is no list")
    return [str(one) for one in value]


def _name(request: Request, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise _MisunderstoodError(f"{key} is missing")
    return value
