"""google.rpc.Status: made from a `SomaError`, and read back from a failed call.

A status travels in trailers, next to its message. Trailers beyond a peer's bound (8 KiB in gRPC, 60 KiB
in Envoy) do not fail the call alone: the peer ends the connection, with all other calls on it. What an
error says may quote a request, so everything here is bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from soma.errors.v1 import errors_pb2

from mesh.runtime.errors import FieldViolation, SomaError

DOMAIN: Final = "soma"
DETAILS: Final = "grpc-status-details-bin"
_PREFIX: Final = "ERROR_REASON_"
LONGEST_MESSAGE: Final = 1024  # bytes; up to three times that when gRPC escapes it
_LONGEST_VALUE: Final = 256
_MOST_VALUES: Final = 8
_MOST_DETAILS: Final = 3072  # bytes of a status; a third more in base64


def reason_name(reason: int | str) -> str:
    """Return `NOT_FOUND` for a value of ErrorReason or for its name, with or without prefix."""
    if isinstance(reason, int):
        reason = errors_pb2.ErrorReason.Name(errors_pb2.ErrorReason.ValueType(reason))
    return reason.removeprefix(_PREFIX)


def shortened(text: str, longest: int) -> str:
    """Return the part of a text that fits into so many bytes of UTF-8, at the end of a character."""
    return text.encode(errors="replace")[:longest].decode(errors="ignore")


def details_of(error: SomaError, *, request_id: str) -> bytes:
    """Return the serialized google.rpc.Status of an error; of many violations the first ones."""
    status = status_pb2.Status(code=error.code.value[0], message=shortened(error.message, LONGEST_MESSAGE))
    held = list(error.metadata.items())[:_MOST_VALUES]
    metadata = {shortened(key, 64): shortened(value, _LONGEST_VALUE) for key, value in held}
    info = error_details_pb2.ErrorInfo(
        reason=reason_name(error.reason),
        domain=DOMAIN,
        metadata={**metadata, "request_id": shortened(request_id, _LONGEST_VALUE)},
    )
    _pack(status, info)
    if error.violations:
        _pack(status, _bad_request(error.violations, room=_MOST_DETAILS - status.ByteSize()))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        _pack(status, error_details_pb2.RetryInfo(retry_delay=delay))
    serialized: bytes = status.SerializeToString()
    return serialized


def _bad_request(violations: Sequence[FieldViolation], *, room: int) -> error_details_pb2.BadRequest:
    """Return the violations that have room, and in any case the first."""
    made = error_details_pb2.BadRequest()
    for found in violations:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=shortened(found.field, _LONGEST_VALUE),
            description=shortened(found.description, _LONGEST_VALUE),
            reason=shortened(found.reason, _LONGEST_VALUE),
        )
        room -= violation.ByteSize()
        if room < 0 and made.field_violations:
            break
        made.field_violations.append(violation)
    return made


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
    """Return the failure of a call; `reason` is empty unless the other side is SomaAgent.

    A caller that ends its own call gets an `asyncio.CancelledError`. CANCELLED from the other side says
    that its server went away: gRPC's core answers calls so that come in the moment in which it shuts down,
    and a handler that outlives the grace ends so. It is told as what it is for the caller, UNAVAILABLE.
    """
    if error.code() is grpc.StatusCode.CANCELLED:
        return RemoteFailure(code=grpc.StatusCode.UNAVAILABLE, message=error.details() or "")
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
