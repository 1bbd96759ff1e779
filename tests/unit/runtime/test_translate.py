"""What a caller learns of an exception: enough, and never a driver's text."""

import asyncio
import time

import asyncpg
import grpc
import grpc.aio
import pytest
import redis.exceptions
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from mesh.runtime import errors
from mesh.runtime.context import CallContext
from mesh.runtime.interceptors.errors import translate
from mesh.runtime.status import DETAILS, details_of
from mesh.runtime.trace import TraceContext


def a_call(*, seconds_left: float | None = None) -> CallContext:
    deadline = None if seconds_left is None else time.monotonic() + seconds_left
    return CallContext(method="/s/m", request_id="req_1", trace=TraceContext("", ""), deadline=deadline)


@pytest.mark.parametrize(
    "lost",
    [
        asyncpg.ConnectionDoesNotExistError("secret"),
        asyncpg.CannotConnectNowError("secret"),
        asyncpg.AdminShutdownError("secret"),
        asyncpg.TooManyConnectionsError("secret"),
        asyncpg.DiskFullError("secret"),
        asyncpg.OutOfMemoryError("secret"),
        asyncpg.PostgresIOError("secret"),
        asyncpg.LockNotAvailableError("secret"),
        asyncpg.QueryCanceledError("secret"),
        asyncpg.DeadlockDetectedError("secret"),
        redis.exceptions.ResponseError("MISCONF Errors writing to the AOF file: secret"),
        asyncpg.InterfaceError("secret"),
        redis.exceptions.ConnectionError("secret"),
        redis.exceptions.BusyLoadingError("secret"),
        redis.exceptions.TimeoutError("secret"),
        KafkaConnectionError("secret"),
        KafkaTimeoutError("secret"),
        ConnectionResetError("secret"),
        TimeoutError("secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_is_unavailable_with_a_time_to_wait(lost: Exception) -> None:
    told = translate(a_call(), lost)
    assert isinstance(told, errors.Unavailable)
    assert told.retry_after
    assert "secret" not in told.message


@pytest.mark.parametrize(
    "defect",
    [
        ValueError("secret"),
        asyncpg.UndefinedTableError("secret"),
        redis.exceptions.ResponseError("ERR secret"),
        errors.Internal("INTERNAL", "secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_defect_is_internal_with_the_request_id_and_nothing_else(defect: Exception) -> None:
    told = translate(a_call(), defect)
    assert isinstance(told, errors.Internal)
    assert told.message == "internal error; request id req_1"


@pytest.mark.parametrize(
    "refused",
    [asyncpg.CharacterNotInRepertoireError("secret"), asyncpg.UntranslatableCharacterError("secret")],
)
def test_a_text_that_no_store_can_hold_is_the_caller_s_fault(refused: Exception) -> None:
    told = translate(a_call(), refused)
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert "secret" not in told.message


def test_our_own_errors_pass_as_they_are() -> None:
    error = errors.NotFound("NOT_FOUND", "no such word")
    assert translate(a_call(), error) is error


@pytest.mark.parametrize(
    ("seconds_left", "kind"), [(10.0, errors.Cancelled), (-1.0, errors.DeadlineExceeded)]
)
def test_a_cancelled_call_is_late_only_after_its_deadline(
    seconds_left: float, kind: type[errors.SomaError]
) -> None:
    assert isinstance(translate(a_call(seconds_left=seconds_left), asyncio.CancelledError()), kind)


def remote(error: errors.SomaError) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata((DETAILS, details_of(error, request_id="req_2")))
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), trailing, details=error.message)


def test_what_another_service_explained_is_passed_on() -> None:
    told = translate(a_call(), remote(errors.ResourceExhausted("QUEUE_FULL", "9 wait", retry_after=2.0)))
    assert isinstance(told, errors.ResourceExhausted)
    assert (told.reason, told.message, told.retry_after) == ("QUEUE_FULL", "9 wait", 2.0)


def test_a_refusal_of_the_mesh_policy_is_our_defect_and_not_the_callers() -> None:
    refused = remote(errors.PermissionDenied("WORKLOAD_DENIED", "workload x may not call y"))
    assert isinstance(translate(a_call(), refused), errors.Internal)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, errors.Unavailable),  # its server shuts down
        (grpc.StatusCode.UNIMPLEMENTED, errors.Internal),
        (grpc.StatusCode.NOT_FOUND, errors.Internal),
    ],
)
def test_a_failure_without_an_explanation_is_told_by_its_code(
    code: grpc.StatusCode, kind: type[errors.SomaError]
) -> None:
    failed = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="secret")
    told = translate(a_call(), failed)
    assert isinstance(told, kind)
    assert "secret" not in told.message


def test_a_character_that_no_store_takes_is_the_callers() -> None:
    error = translate(a_call(), asyncpg.CharacterNotInRepertoireError("secret"))
    assert isinstance(error, errors.InvalidArgument)
    assert "secret" not in error.message
