"""The event loop of a process: uvloop, mended where grpc.aio would stall it.

A thread of grpc.aio writes one byte into a socket for every event of a call, and the loop reads one byte each
time that the socket is readable, although it then takes all events there are. In a loop with more than one
event a round the bytes pile up, until the socket is full (some 280) and the thread waits in its write: from
then on one event passes in a round, however many wait. With rounds of 2.5 ms that is some 100 calls a second.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import uvloop

_MOST_BYTES: Final = 4096
_EVENTS: Final = "_handle_events"  # of grpc.aio's PollerCompletionQueue
Result = TypeVar("Result")


class Loop(uvloop.Loop):
    """A uvloop that empties the socket by which grpc.aio wakes it."""

    def add_reader(  # type: ignore[override]  # the stubs of asyncio name a type variable
        self, fileno: Any, callback: Callable[..., Any], *args: Any
    ) -> None:
        """Call `callback` when `fileno` is readable; grpc.aio's finds its socket empty."""
        if isinstance(callback, functools.partial) and getattr(callback.func, "__name__", "") == _EVENTS:
            callback = functools.partial(_emptied, fileno, callback)
        super().add_reader(fileno, callback, *args)


def _emptied(wakes: socket.socket, take_events: Callable[[], Any]) -> None:
    # The thread leaves an event first and writes then, so what is left after this reading has a byte to come.
    with contextlib.suppress(BlockingIOError):
        wakes.recv(_MOST_BYTES)
    take_events()


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` in a new loop, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)
