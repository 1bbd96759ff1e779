"""What a failed record deserves: another try, patience, or the dead letters."""

import random
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from mesh.runtime.context import CallContext
from mesh.runtime.interceptors.errors import translate
from mesh.runtime.logging import redact_text
from mesh.runtime.status import reason_name
from mesh.runtime.trace import TraceContext

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_LONGEST_REASON: Final = 300
_PATIENT: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)


class Verdict(Enum):
    """What to do after a failure."""

    WAIT = auto()
    """Something this record needs is down: try again for as long as it takes."""
    AGAIN = auto()
    """The record failed; it has tries left."""
    POISON = auto()
    """Give the record up."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure of one record."""

    verdict: Verdict
    reason: str

    @property
    def counts(self) -> bool:
        """Whether it is one of the record's limited tries."""
        return self.verdict is not Verdict.WAIT


@dataclass(frozen=True, slots=True)
class Attempts:
    """The rule: a record has `limit` tries; times when a dependency is down are not counted."""

    limit: int

    def judge(self, error: Exception, *, failed: int) -> Failure:
        """Return the verdict on a failure after `failed` counted ones."""
        if isinstance(error, DecodeError):
            return Failure(Verdict.POISON, "UNDECODABLE: not the message of its topic")
        call = CallContext(method="consumer", request_id="", trace=TraceContext("", ""))
        known = translate(call, error)
        cause = redact_text(f"{type(error).__name__}: {error}")
        reason = f"{reason_name(known.reason)}: {cause}"[:_LONGEST_REASON]
        if known.code in _PATIENT:
            return Failure(Verdict.WAIT, reason)
        return Failure(Verdict.POISON if failed + 1 >= self.limit else Verdict.AGAIN, reason)

    def pause(self, tries: int) -> float:
        """Return the seconds before the next try: doubling, bounded, with jitter."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries - 1, 10))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
