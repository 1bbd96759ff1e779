"""Identifiers: `<prefix>_<32 hex digits of a UUIDv7>` (RFC 9562, section 5.7).

Ids of one process sort by the time of their making, also inside one
millisecond: the 12 bits of `rand_a` count up (RFC 9562, section 6.2, method 1).
"""

import secrets
import threading
import time
from typing import Final

_COUNTER_BITS: Final = 12
_COUNTER_SEED_BITS: Final = 11  # a fresh millisecond leaves room to count up


class IdSource:
    """Makes UUIDv7 values that never repeat and never go back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._counter = 0

    def uuid7(self) -> str:
        """Return 32 lower-case hex digits of a new UUIDv7."""
        with self._lock:
            now = time.time_ns() // 1_000_000
            if now > self._last_ms:
                self._last_ms = now
                self._counter = secrets.randbits(_COUNTER_SEED_BITS)
            else:
                self._counter += 1
                if self._counter >> _COUNTER_BITS:
                    self._last_ms += 1
                    self._counter = 0
            high = (self._last_ms & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | self._counter
        low = 0b10 << 62 | secrets.randbits(62)
        return f"{high:016x}{low:016x}"


_SOURCE: Final = IdSource()


def new_id(prefix: str) -> str:
    """Return a new id of the kind `prefix` names, for example `trn_0192...`."""
    return f"{prefix}_{_SOURCE.uuid7()}"
