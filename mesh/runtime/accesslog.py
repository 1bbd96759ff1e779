"""The access log's lines, rendered by hand and written together.

A line goes through no logger: structlog's processors cost several times the
rest of the chain. On the way of a call only a tuple is kept; the lines are made
a tenth of a second later, all at once. What varies is escaped; what a caller
can choose freely (bodies, metadata) is not there at all.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TextIO

from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.hooks import Outcome

_FLUSH_AFTER: Final = 0.1
_HOLD_AT_MOST: Final = 512
Entry = tuple[str, float, CallContext, Outcome]


@lru_cache(maxsize=4096)
def _quoted(value: str) -> str:
    return json.dumps(value)


def render(entry: Entry) -> str:
    """Return the line about one call."""
    head, moment, call, outcome = entry
    subject = call.principal.subject if call.principal is not None else ""
    return (
        f'{head}"time": "{datetime.fromtimestamp(moment, UTC).isoformat()}", '
        f'"code": "{outcome.code.name}", "reason": {_quoted(outcome.reason)}, '
        f'"ms": {outcome.seconds * 1000:.2f}, "caller": {_quoted(call.caller)}, '
        f'"tenant": {_quoted(call.tenant)}, "subject": {_quoted(subject)}, '
        f'"request_id": "{call.request_id}", "trace_id": "{call.trace.trace_id}"}}\n'
    )


class AccessLog:
    """Gathers calls for a tenth of a second and writes their lines at once."""

    def __init__(self, *, process: str, stream: TextIO | None = None) -> None:
        """Write to `stream`, by default stderr, where the rest of the log goes."""
        self._process = process
        self._stream = stream or sys.stderr
        self._entries: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None

    def writer(self, contract: MethodContract) -> Callable[[CallContext, Outcome], None]:
        """Return the function that notes a call of this method."""
        head = (
            f'{{"event": "call", "level": "info", "process": {_quoted(self._process)}, '
            f'"service": {_quoted(contract.service)}, "method": {_quoted(contract.name)}, '
        )

        def write(call: CallContext, outcome: Outcome) -> None:
            self._entries.append((head, time.time(), call, outcome))
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)
            elif len(self._entries) >= _HOLD_AT_MOST:
                self.flush()

        return write

    def flush(self) -> None:
        """Write what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            entries, self._entries = self._entries, []
            self._stream.write("".join(map(render, entries)))
            self._stream.flush()
