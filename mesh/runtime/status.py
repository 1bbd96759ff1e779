"""google.rpc.Status: made from a `SomaError`, and read back from a failed call."""

from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from soma.errors.v1 import errors_pb2

from mesh.runtime.errors import SomaError

DOMAIN: Final = "soma"
DETAILS: Final = "grpc-status-details-bin"
_PREFIX: Final = "ERROR_REASON_"
_LONGEST_MESSAGE: Final = 1024


def reason_name(reason: int | str) -> str:
    """Return `NOT_FOUND` for a value of ErrorReason or for its name, with or without prefix."""
    if isinstance(reason, int):
        reason = errors_pb2.ErrorReason.Name(errors_pb2.ErrorReason.ValueType(reason))
    return reason.removeprefix(_PREFIX)


def details_of(error: SomaError, *, request_id: str) -> bytes:
    """Return the serialized google.rpc.Status of an error."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message[:_LONGEST_MESSAGE])
    _pack(
        status,
        error_details_pb2.ErrorInfo(
            reason=reason_name(error.reason),
            domain=DOMAIN,
            metadata={**error.metadata, "request_id": request_id},
        ),
    )
    if error.violations:
        _pack(
            status,
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=found.field, description=found.description, reason=found.reason
                    )
                    for found in error.violations
                ]
            ),
        )
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        _pack(status, error_details_pb2.RetryInfo(retry_delay=delay))
    serialized: bytes = status.SerializeToString()
    return serialized


@dataclass(frozen=True, slots=True)
class RemoteFailure:
    """What another service said of its failure."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    violations: tuple[tuple[str, str], ...] = ()


def read(error: grpc.aio.AioRpcError) -> RemoteFailure:
    """Return the failure of a call; `reason` is empty unless the other side is SomaAgent."""
    reason, metadata = "", dict[str, str]()
    retry_after: float | None = None
    violations: list[tuple[str, str]] = []
    for detail in _details(error):
        info = error_details_pb2.ErrorInfo()
        retry = error_details_pb2.RetryInfo()
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Unpack(bad):
            violations = [(found.field, found.description) for found in bad.field_violations]
    return RemoteFailure(
        code=error.code(),
        message=error.details() or "",
        reason=reason,
        metadata=metadata,
        retry_after=retry_after,
        violations=tuple(violations),
    )


def _details(error: grpc.aio.AioRpcError) -> list[any_pb2.Any]:
    trailing: Any = error.trailing_metadata()
    for key, value in trailing or ():
        if key == DETAILS and isinstance(value, bytes):
            return list(status_pb2.Status.FromString(value).details)
    return []


def _pack(
    status: status_pb2.Status,
    detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> None:
    status.details.add().Pack(detail)
