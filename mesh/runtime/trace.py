"""W3C Trace Context (https://www.w3.org/TR/trace-context/), version 00.

Trace ids travel always; spans are made only where `mesh.runtime.telemetry` was
given a collector. This module refuses malformed headers: they start a new trace.
"""

import random
import re
from typing import Final, NamedTuple

HEADER: Final = "traceparent"
_FORM: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
# Trace ids need uniqueness, not secrecy: the Mersenne twister, seeded by the system.
_RANDOM: Final = random.Random()  # noqa: S311 - see above


class TraceContext(NamedTuple):
    """One hop of a trace: the trace, the span that called, and whether it is recorded.

    A tuple, because one is made for every call and a frozen dataclass costs three times as much.
    """

    trace_id: str
    span_id: str
    sampled: bool = False

    def header(self) -> str:
        """Return the value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def new_trace() -> TraceContext:
    """Start a trace that nobody records yet."""
    return TraceContext(f"{_RANDOM.getrandbits(128) or 1:032x}", f"{_RANDOM.getrandbits(64) or 1:016x}")


def parse(header: str | None) -> TraceContext | None:
    """Read a `traceparent` value; None where it is absent or malformed."""
    if header is None or len(header) != 55:
        return None
    found = _FORM.match(header)
    if found is None or found[1] == _NO_TRACE or found[2] == _NO_SPAN:
        return None
    return TraceContext(found[1], found[2], bool(int(found[3], 16) & 1))
