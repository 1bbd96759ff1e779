"""The error tree of the platform.

Errors carry data, never a driver's text. `mesh.runtime.interceptors.errors` is
the one place that turns them into `google.rpc.Status`; `mesh.runtime.status`
reads such a status back on the client's side.

A reason is a value of `soma.errors.v1.ErrorReason` (or its name without the
prefix, for example `"NOT_FOUND"`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import grpc


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is not as the contract says (google.rpc.BadRequest)."""

    field: str
    description: str
    reason: str = ""


class SomaError(Exception):
    """A failure that a caller may see: a gRPC code, a reason, and a sentence."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL

    def __init__(
        self,
        reason: int | str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | timedelta | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        """Build the error; `retry_after` is in seconds (google.rpc.RetryInfo)."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after.total_seconds() if isinstance(retry_after, timedelta) else retry_after
        self.violations = tuple(violations)


class InvalidArgument(SomaError):
    """The request is wrong whatever the state of the system."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(SomaError):
    """The resource does not exist, or not for this tenant: both are told alike."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(SomaError):
    """The resource, or the request id with another content, is already there."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(SomaError):
    """The system is not in a state in which this can be done; a repeat will not help."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PermissionDenied(SomaError):
    """Who asks is known and may not."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Unauthenticated(SomaError):
    """Who asks is not known."""

    code = grpc.StatusCode.UNAUTHENTICATED


class ResourceExhausted(SomaError):
    """A bound is reached: a rate, a queue, a budget."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(SomaError):
    """Something this call needs does not answer; a repeat may help."""

    code = grpc.StatusCode.UNAVAILABLE


class Aborted(SomaError):
    """Another change came first; repeat the whole read and change."""

    code = grpc.StatusCode.ABORTED


class DeadlineExceeded(SomaError):
    """The caller's deadline passed before the answer was there."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Cancelled(SomaError):
    """The caller went away, or the call was stopped on request."""

    code = grpc.StatusCode.CANCELLED


class Unimplemented(SomaError):
    """This server does not do that."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(SomaError):
    """A defect of the platform; the caller learns a request id and nothing else."""

    code = grpc.StatusCode.INTERNAL


class ConfigurationError(Exception):
    """The process cannot start with the settings it was given; never sent to a caller."""


class DependencyDown(Exception):
    """A server that this process needs did not answer within the bound at start."""
