"""What a model's failure is called.

SomaError
├── Unavailable         MODEL_UNAVAILABLE: it does not answer, or broke off
├── NotFound            MODEL_NOT_FOUND
├── InvalidArgument     CONTEXT_TOO_LONG, INVALID_ARGUMENT
├── ResourceExhausted   RATE_LIMITED, with the provider's own retry-after; QUEUE_FULL
├── FailedPrecondition  PROVIDER_REFUSED: the provider's key, terms or content filter
├── PermissionDenied    PROVIDER_REFUSED: the address is not one that may be reached
└── DeadlineExceeded    DEADLINE_EXCEEDED
"""

from __future__ import annotations

import re
from typing import Final

import grpc

from mesh.runtime import errors

_CONTEXT: Final = re.compile(
    r"context.{0,20}(length|window|tokens)|prompt is too long|too many tokens|maximum (model|sequence) len",
    re.IGNORECASE,
)
_UNKNOWN_MODEL: Final = re.compile(
    r"unknown model|model .{0,80}(not found|is not ready|does not exist)", re.IGNORECASE
)


# As Triton's own queue says it, and as our models do (`models/engine/scheduler.py`).
_QUEUE: Final = re.compile(r"maximum queue size|requests are waiting for \d+ slots", re.IGNORECASE)


def unavailable(model: str, what: str) -> errors.Unavailable:
    """The model does not answer, or broke off: `what` is our own sentence, never a driver's text."""
    return errors.Unavailable("MODEL_UNAVAILABLE", f"model {model} {what}", metadata={"model": model})


def not_found(model: str) -> errors.NotFound:
    """The server knows no such model."""
    return errors.NotFound("MODEL_NOT_FOUND", f"model {model} does not exist", metadata={"model": model})


def context_too_long(model: str) -> errors.InvalidArgument:
    """The prompt does not fit."""
    return errors.InvalidArgument(
        "CONTEXT_TOO_LONG", f"the prompt is longer than model {model} takes", metadata={"model": model}
    )


def refused(model: str, status: int | str) -> errors.FailedPrecondition:
    """The provider said no; `status` is its HTTP status or the name of its reason."""
    return errors.FailedPrecondition(
        "PROVIDER_REFUSED",
        f"the provider of {model} refused the request: {status}",
        metadata={"model": model, "status": str(status)},
    )


def queue_full(model: str) -> errors.ResourceExhausted:
    """The server takes no more for now."""
    return errors.ResourceExhausted(
        "QUEUE_FULL", f"the queue of model {model} is full", metadata={"model": model}
    )


def rate_limited(model: str, retry_after: float | None) -> errors.ResourceExhausted:
    """The provider's own rate limit."""
    return errors.ResourceExhausted(
        "RATE_LIMITED",
        f"the provider of {model} limits the rate",
        metadata={"model": model},
        retry_after=retry_after,
    )


def deadline(model: str) -> errors.DeadlineExceeded:
    """The answer took longer than allowed."""
    return errors.DeadlineExceeded(
        "DEADLINE_EXCEEDED", f"model {model} did not finish in time", metadata={"model": model}
    )


def from_text(model: str, text: str) -> errors.SomaError:
    """Read the error text that Triton or a provider gave; the text itself goes no further."""
    if _CONTEXT.search(text):
        return context_too_long(model)
    if _UNKNOWN_MODEL.search(text):
        return not_found(model)
    if _QUEUE.search(text):
        return queue_full(model)
    return unavailable(model, "failed to answer")


def from_rpc(model: str, error: grpc.aio.AioRpcError) -> errors.SomaError:
    """Translate a failure of Triton's gRPC endpoint."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return deadline(model)
    if code is grpc.StatusCode.NOT_FOUND:
        return not_found(model)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return queue_full(model)
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        found = from_text(model, details)
        if code is grpc.StatusCode.INVALID_ARGUMENT and isinstance(found, errors.Unavailable):
            return errors.InvalidArgument(
                "INVALID_ARGUMENT", f"model {model} does not take such a request", metadata={"model": model}
            )
        return found
    return unavailable(model, "does not answer")


def from_http(model: str, status: int, body: str, retry_after: float | None) -> errors.SomaError:
    """Translate a provider's HTTP status; of its body only the kind of failure is read."""
    if status == 429:
        return rate_limited(model, retry_after)
    if status in (400, 413, 422) and _CONTEXT.search(body):
        return context_too_long(model)
    if status == 404:
        return not_found(model)
    if status in (408, 504):
        return deadline(model)
    if status >= 500:
        return unavailable(model, f"does not answer: its provider says {status}")
    return refused(model, status)
