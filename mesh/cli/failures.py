"""What a failed call means to a person: one line, what to do about it, and an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING

from mesh.cli.output import line

if TYPE_CHECKING:
    from mesh.runtime.status import RemoteFailure


class Exit(IntEnum):
    """Exit codes of `soma`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAUTHENTICATED = 4
    DENIED = 5
    APPROVAL_NEEDED = 6
    UNAVAILABLE = 7
    INTERRUPTED = 130


_BY_CODE: Mapping[str, Exit] = {
    "INVALID_ARGUMENT": Exit.USAGE,
    "NOT_FOUND": Exit.NOT_FOUND,
    "UNAUTHENTICATED": Exit.UNAUTHENTICATED,
    "PERMISSION_DENIED": Exit.DENIED,
    "UNAVAILABLE": Exit.UNAVAILABLE,
    "DEADLINE_EXCEEDED": Exit.UNAVAILABLE,
    "RESOURCE_EXHAUSTED": Exit.UNAVAILABLE,
}
_BY_REASON: Mapping[str, Exit] = {
    "MODEL_UNAVAILABLE": Exit.UNAVAILABLE,
    "DEPENDENCY_UNAVAILABLE": Exit.UNAVAILABLE,
    "QUEUE_FULL": Exit.UNAVAILABLE,
    "RATE_LIMITED": Exit.UNAVAILABLE,
    "POLICY_DENIED": Exit.DENIED,
    "MODEL_NOT_FOUND": Exit.NOT_FOUND,
}
_FIXES: Mapping[str, str] = {
    "TOKEN_MISSING": "set SOMA_API_KEY, or run `soma up`",
    "TOKEN_INVALID": "check SOMA_API_KEY; it may belong to another installation",
    "TOKEN_EXPIRED": "sign in again, or make a key with `soma key create`",
    "TOKEN_REVOKED": "ask the tenant's owner for a new key",
    "SCOPE_MISSING": "use a key that holds the scope (`soma key list` shows scopes)",
    "TENANT_MISMATCH": "use a key of that tenant",
    "QUEUE_FULL": "try again soon",
    "RATE_LIMITED": "try again later",
    "MODEL_UNAVAILABLE": "look at `soma model check`",
    "MODEL_NOT_FOUND": "see `soma model list`",
    "POLICY_UNAVAILABLE": "look at `soma status`: the policy service must run",
    "DEPENDENCY_UNAVAILABLE": "look at `soma status` and `soma doctor`",
    "REQUEST_ID_REUSED": "use another request id",
    "INTERNAL": "look for the request id in `soma logs`",
}
_FIXES_BY_CODE: Mapping[str, str] = {
    "UNAUTHENTICATED": "set SOMA_API_KEY to a valid key, or run `soma up`",
    "PERMISSION_DENIED": "use a key that may do this",
    "UNAVAILABLE": "look at `soma status`; start the stack with `soma up`",
    "DEADLINE_EXCEEDED": "look at `soma status` and try again",
    "UNIMPLEMENTED": "this server does not offer the method at its edge",
}


class Failure(Exception):
    """A command that ends without its result."""

    def __init__(self, message: str, code: Exit = Exit.FAILED, reason: str = "", fix: str = "") -> None:
        """Say what failed, how the command ends, why in one word, and what to do about it."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.fix = fix

    def __str__(self) -> str:
        """Give the line that people read."""
        said = line(self.message).rstrip(".")
        fix = f". Fix: {line(self.fix)}" if self.fix else ""
        reason = f" [{line(self.reason)}]" if self.reason else ""
        return f"{said}{fix}{reason}"


def of_remote(failure: RemoteFailure) -> Failure:
    """Give the failure of a call."""
    code, reason = failure.code.name, failure.reason
    return Failure(
        message=failure.message or code,
        code=exit_code(code, reason),
        reason=reason or code,
        fix=_fix(failure),
    )


def exit_code(code: str, reason: str) -> Exit:
    """Give the exit code of a gRPC status code and a reason; the reason knows better."""
    return _BY_REASON.get(reason) or _BY_CODE.get(code, Exit.FAILED)


def _fix(failure: RemoteFailure) -> str:
    if failure.reason == "POLICY_DENIED" and failure.metadata.get("action"):
        return f"see why with `soma policy explain {failure.metadata['action']}`"
    if failure.retry_after is not None:
        return f"try again in {failure.retry_after:.0f} s" if failure.retry_after >= 1 else "try again"
    fix = _FIXES.get(failure.reason, "")
    return fix if failure.reason else _FIXES_BY_CODE.get(failure.code.name, "")
