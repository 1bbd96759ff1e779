"""The access log's lines, rendered by hand and written together.

A line goes through no logger: structlog's processors cost several times the
rest of the chain. What varies is escaped; what a caller can choose freely
(bodies, metadata) is not there at all.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TextIO

from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.hooks import Outcome

_FLUSH_AFTER: Final = 0.1
_HOLD_AT_MOST: Final = 512


@lru_cache(maxsize=4096)
def _quoted(value: str) -> str:
    return json.dumps(value)


class AccessLog:
    """Gathers lines for a tenth of a second and writes them at once."""

    def __init__(self, *, process: str, stream: TextIO | None = None) -> None:
        """Write to `stream`, by default stderr, where the rest of the log goes."""
        self._process = process
        self._stream = stream or sys.stderr
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def writer(self, contract: MethodContract) -> Callable[[CallContext, Outcome], None]:
        """Return the function that writes a line about a call of this method."""
        head = (
            f'{{"event": "call", "level": "info", "process": {_quoted(self._process)}, '
            f'"service": {_quoted(contract.service)}, "method": {_quoted(contract.name)}, '
        )

        def write(call: CallContext, outcome: Outcome) -> None:
            principal = call.principal
            subject = _quoted(principal.subject) if principal is not None else '""'
            self._add(
                f'{head}"time": "{datetime.now(UTC).isoformat()}", '
                f'"code": "{outcome.code.name}", "reason": {_quoted(outcome.reason)}, '
                f'"ms": {outcome.seconds * 1000:.2f}, "caller": {_quoted(call.caller)}, '
                f'"tenant": {_quoted(call.tenant)}, "subject": {subject}, '
                f'"request_id": "{call.request_id}", "trace_id": "{call.trace.trace_id}"}}\n'
            )

        return write

    def flush(self) -> None:
        """Write what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            lines, self._lines = self._lines, []
            self._stream.write("".join(lines))
            self._stream.flush()

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= _HOLD_AT_MOST:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)
