"""Errors on the wire: what is packed is what is read back."""

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2
from soma.errors.v1 import errors_pb2

from mesh.runtime import errors
from mesh.runtime.status import DETAILS, details_of, read, reason_name

TREE = [
    errors.InvalidArgument, errors.NotFound, errors.AlreadyExists, errors.FailedPrecondition,
    errors.PermissionDenied, errors.Unauthenticated, errors.ResourceExhausted, errors.Unavailable,
    errors.Aborted, errors.DeadlineExceeded, errors.Cancelled, errors.Unimplemented, errors.Internal,
]  # fmt: skip


def over_the_wire(error: errors.SomaError) -> grpc.aio.AioRpcError:
    details = details_of(error, request_id="req_1")
    trailing = grpc.aio.Metadata((DETAILS, details))
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), trailing, details=error.message)


TOLD = [kind for kind in TREE if kind is not errors.Cancelled]


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
def test_every_error_keeps_its_code_reason_and_words(kind: type[errors.SomaError]) -> None:
    failure = read(over_the_wire(kind("NOT_FOUND", "no such word", metadata={"word": "w"})))
    assert failure.code is kind.code
    assert failure.reason == "NOT_FOUND"
    assert failure.message == "no such word"
    assert failure.metadata == {"word": "w", "request_id": "req_1"}


def test_a_server_that_ends_a_call_is_one_that_is_not_there() -> None:
    failure = read(over_the_wire(errors.Cancelled("CANCELLED", "the caller went away")))
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert not failure.reason


def test_every_code_is_the_kind_of_one_error_only() -> None:
    assert len({kind.code for kind in TREE}) == len(TREE)


def test_the_time_to_wait_and_the_wrong_fields_arrive() -> None:
    error = errors.InvalidArgument(
        "INVALID_ARGUMENT",
        "field a.b: too long",
        retry_after=0.25,
        violations=[errors.FieldViolation("a.b", "too long")],
    )
    failure = read(over_the_wire(error))
    assert failure.retry_after == 0.25
    assert failure.violations == (("a.b", "too long"),)


def test_a_status_says_its_code_as_a_number_too() -> None:
    packed = status_pb2.Status.FromString(details_of(errors.NotFound("NOT_FOUND", "x"), request_id="r"))
    assert packed.code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize(
    "reason",
    ["QUEUE_FULL", "ERROR_REASON_QUEUE_FULL", errors_pb2.ERROR_REASON_QUEUE_FULL],
)
def test_a_reason_may_be_a_name_or_a_number(reason: int | str) -> None:
    assert reason_name(reason) == "QUEUE_FULL"


def test_a_failure_of_a_stranger_has_no_reason() -> None:
    stranger = grpc.aio.AioRpcError(
        grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata(), details="gone"
    )
    assert read(stranger).reason == ""


@pytest.mark.parametrize("text", ["a" * 200_000, "\u00df" * 70_000, "\x00" * 70_000, "\ud800" * 9])
def test_a_status_is_small_whatever_it_quotes(text: str) -> None:
    error = errors.InvalidArgument(
        "INVALID_ARGUMENT",
        text,
        metadata={f"{text}{number}": text for number in range(100)},
        violations=[errors.FieldViolation(text, text, text)] * 1000,
    )
    details = details_of(error, request_id=text)
    assert len(details) < 6 * 1024
    packed = status_pb2.Status.FromString(details)
    assert len(packed.message.encode()) <= 1024
    assert len(packed.details) == 2
    assert text.encode(errors="replace").decode().startswith(packed.message)
