"""Speaks to a supervisor over its socket, and starts one; what the CLI stands on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mesh.stack.child import open_log
from mesh.stack.errors import Code, NotRunningError, StackError
from mesh.stack.home import CHECKOUT, Home

Message = dict[str, object]
TIMEOUT = 180.0


def ask(home: Home, request: Message) -> Iterator[Message]:
    """Send one request and give the messages of its answer; the last one has `done`.

    Raises:
        NotRunningError: nothing listens.
        StackError: what the supervisor answered.
    """
    with _connected(home) as connection, connection.makefile("rb") as lines:
        connection.sendall(json.dumps(request).encode() + b"\n")
        for line in lines:
            message: Message = json.loads(line)
            error = message.get("error")
            if isinstance(error, dict):
                raise StackError.from_dict(error)
            yield message
            if message.get("done"):
                return
    raise StackError(
        "the supervisor went away in the middle of its answer",
        fix=f"read {home.log_of('supervisor')}, then `soma up`",
        code=Code.SUPERVISOR_LOST,
    )


def tell(home: Home, request: Message) -> Message:
    """Send one request and give the last message of its answer."""
    *_, last = ask(home, request)
    return last


def is_running(home: Home) -> bool:
    """Tell whether a supervisor listens."""
    try:
        with _connected(home):
            return True
    except NotRunningError:
        return False


@contextmanager
def _connected(home: Home) -> Iterator[socket.socket]:
    """Connect through a descriptor of the folder: its full path may be too long for a socket."""
    try:
        folder = os.open(home.run, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise NotRunningError(home.root) from error
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            try:
                connection.connect(f"/proc/self/fd/{folder}/{home.socket.name}")
            except (FileNotFoundError, ConnectionRefusedError) as error:
                raise NotRunningError(home.root) from error
            yield connection
    finally:
        os.close(folder)


def start_supervisor(home: Home, environment: Mapping[str, str]) -> None:
    """Start a supervisor that outlives this process, and wait until it listens.

    Raises:
        StackError: it could not take the home.
    """
    reading, writing = os.pipe()
    log = home.log_of("supervisor")
    with open_log(log) as output:
        subprocess.Popen(
            [sys.executable, "-m", "mesh.stack.supervisor", str(writing)],
            cwd=home.root,
            env={**environment, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(writing,),
        )
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        line = answer.readline()
    if not line:
        raise StackError(
            "the supervisor ended while it started",
            fix=f"read {log}",
            code=Code.SUPERVISOR_LOST,
        )
    if error := json.loads(line):
        raise StackError.from_dict(error)
