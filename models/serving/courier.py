"""Carries results to Triton's process, on a thread of its own.

Whatever a model tells Triton is a message to another process and a wait for its answer. On a busy machine
that wait is as long as a step of the model, so the stepping thread leaves its messages here, in their order.
"""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from models.engine.errors import EngineError
from models.engine.results import Delta
from models.serving.contract import Responder

_log = logging.getLogger(__name__)
_Errand = tuple[Callable[..., None], tuple[Any, ...]]


class Courier:
    """One thread that runs errands, one after the other."""

    def __init__(self) -> None:
        """Start the thread."""
        self._errands: SimpleQueue[_Errand | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def send(self, errand: Callable[..., None], *arguments: Any) -> None:
        """Take an errand and return at once."""
        self._errands.put((errand, arguments))

    def close(self) -> None:
        """Run the errands that were taken, and end the thread."""
        self._errands.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (taken := self._errands.get()) is not None:
            errand, arguments = taken
            try:
                errand(*arguments)
            except Exception:  # noqa: BLE001  # one request's client is gone; the others' results must come
                _log.exception("a message to triton failed")


class Carried:
    """A sink whose results a courier carries to their responder."""

    def __init__(self, responder: Responder, courier: Courier) -> None:
        """Answer through `responder`."""
        self._responder = responder
        self._courier = courier
        self._asking = False

    def delta(self, delta: Delta) -> None:
        """Send a delta."""
        self._courier.send(self._responder.delta, delta)

    def fail(self, error: EngineError) -> None:
        """Send the failure."""
        self._courier.send(self._responder.fail, error)

    def drop(self) -> None:
        """End a cancelled call."""
        self._courier.send(self._responder.drop)

    def ask(self, gone: Callable[[], None]) -> None:
        """Ask Triton whether the client went away; one question at a time."""
        if not self._asking:
            self._asking = True
            self._courier.send(self._ask, gone)

    def _ask(self, gone: Callable[[], None]) -> None:
        cancelled = self._responder.cancelled()
        self._asking = False
        if cancelled:
            gone()
