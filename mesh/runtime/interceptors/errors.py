"""Every exception of a handler becomes a google.rpc.Status; a driver's text never leaves.

- `SomaError`: as it is.
- A lost connection to a store or broker, one that has no room, or a call that another
  service could not serve: UNAVAILABLE with RetryInfo.
- A text that no store can hold: INVALID_ARGUMENT.
- A failure that another service of the platform explained: passed on.
- Anything else: INTERNAL with the request id, and the cause in the log.
"""

import asyncio
from typing import Final

import grpc
import grpc.aio

from mesh.runtime.context import CallContext
from mesh.runtime.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SomaError,
    Unauthenticated,
    Unavailable,
)
from mesh.runtime.logging import get_logger
from mesh.runtime.status import read

_log = get_logger(__name__)
_RETRY_AFTER: Final = 0.5
# By name, so that the runtime imports no driver. The classes above which a name stands count too.
_PASSING: Final = frozenset(
    {
        "asyncpg.exceptions.PostgresConnectionError",
        "asyncpg.exceptions.CannotConnectNowError",
        "asyncpg.exceptions.AdminShutdownError",
        "asyncpg.exceptions.CrashShutdownError",
        # A full disk, too little memory, too many connections, a lock that was not to be had in time, a
        # transaction that had to give way: nothing that is wrong with the call or the record.
        "asyncpg.exceptions.InsufficientResourcesError",
        "asyncpg.exceptions.PostgresIOError",
        "asyncpg.exceptions.LockNotAvailableError",
        "asyncpg.exceptions.QueryCanceledError",
        "asyncpg.exceptions.TransactionRollbackError",
        "asyncpg.exceptions.ReadOnlySQLTransactionError",
        "asyncpg.exceptions._base.InterfaceError",
        # What the driver says when a connection dies between a query and the reset after it.
        "asyncpg.exceptions._base.InternalClientError",
        "redis.exceptions.ConnectionError",
        "redis.exceptions.TimeoutError",
        "redis.exceptions.ReadOnlyError",
        "redis.exceptions.OutOfMemoryError",
        "aiokafka.errors.KafkaError",
        "builtins.ConnectionError",
        "socket.gaierror",
    }
)
# Redis has one class for most of what it says; these words begin what passes, such as a full disk.
_REDIS_SAYS: Final = "redis.exceptions.ResponseError"
REDIS_PASSING: Final = ("LOADING", "BUSY", "READONLY", "MASTERDOWN", "OOM", "MISCONF", "TRYAGAIN")
# What a store says of a text that no store can hold: NUL, which every encoding of text on the way admits.
_UNSTORABLE: Final = frozenset(
    {
        "asyncpg.exceptions.CharacterNotInRepertoireError",
        "asyncpg.exceptions.UntranslatableCharacterError",
    }
)
_PASSED_ON: Final[dict[grpc.StatusCode, type[SomaError]]] = {
    kind.code: kind
    for kind in (
        InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, PermissionDenied,
        Unauthenticated, ResourceExhausted, Unavailable, Aborted, DeadlineExceeded,
    )
}  # fmt: skip
_GONE: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})


def translate(call: CallContext, error: BaseException) -> SomaError:
    """Return what the caller learns of an exception; what it must not learn is logged."""
    if isinstance(error, SomaError):
        if isinstance(error, Internal):
            _log.error("internal error", method=call.method, exc_info=error)
            return _internal(call)
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        return _from_remote(call, error)
    if isinstance(error, asyncio.CancelledError):
        if call.remaining() == 0.0:
            return DeadlineExceeded("DEADLINE_EXCEEDED", "the deadline passed before the answer")
        return Cancelled("CANCELLED", "the caller went away")
    if isinstance(error, TimeoutError):
        if call.remaining() == 0.0:
            return DeadlineExceeded("DEADLINE_EXCEEDED", "the deadline passed before the answer")
        return _unavailable(call, error)
    names = {f"{one.__module__}.{one.__qualname__}" for one in type(error).__mro__}
    if names & _PASSING or (_REDIS_SAYS in names and str(error).startswith(REDIS_PASSING)):
        return _unavailable(call, error)
    if names & _UNSTORABLE:
        return InvalidArgument("INVALID_ARGUMENT", "a text of the request holds the character NUL")
    _log.error("unexpected error", method=call.method, exc_info=error)
    return _internal(call)


def _internal(call: CallContext) -> Internal:
    return Internal("INTERNAL", f"internal error; request id {call.request_id}")


def _unavailable(call: CallContext, error: BaseException) -> Unavailable:
    _log.warning("dependency unavailable", method=call.method, cause=f"{type(error).__name__}: {error}")
    return Unavailable(
        "DEPENDENCY_UNAVAILABLE",
        "the service cannot reach what it depends on; try again",
        retry_after=_RETRY_AFTER,
    )


def _from_remote(call: CallContext, error: grpc.aio.AioRpcError) -> SomaError:
    failure = read(error)
    kind = _PASSED_ON.get(failure.code)
    if kind is not None and failure.reason and failure.reason != "WORKLOAD_DENIED":
        return kind(
            failure.reason,
            failure.message,
            metadata=failure.metadata,
            retry_after=failure.retry_after,
            violations=[FieldViolation(*violation) for violation in failure.violations],
        )
    if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded("DEADLINE_EXCEEDED", "the deadline passed before the answer")
    if failure.code in _GONE:
        return _unavailable(call, error)
    _log.error(
        "call to another service failed",
        method=call.method,
        code=failure.code.name,
        reason=failure.reason,
        cause=failure.message,
    )
    return _internal(call)
