"""What the orchestrator refuses, as errors a caller sees.

SomaError
├── NotFound            session, turn, persona; another tenant's are told alike
├── AlreadyExists       REQUEST_ID_REUSED
├── InvalidArgument     CONTEXT_TOO_LONG, INVALID_ARGUMENT (page tokens, from_seq)
├── ResourceExhausted   QUEUE_FULL, BUDGET_EXHAUSTED
└── Unavailable         DEPENDENCY_UNAVAILABLE: memory, models, the turn log
"""

import random
from typing import Final

import grpc.aio

from mesh.runtime import status
from mesh.runtime.errors import (
    AlreadyExists,
    FieldViolation,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SomaError,
    Unavailable,
)
from mesh.turnlog import QueueFull

_COME_BACK_SECONDS: Final = (1.0, 4.0)  # different for each: who was refused together must not come together


def no_session(session_id: str) -> NotFound:
    """The tenant has no such session."""
    return NotFound("NOT_FOUND", f"session {session_id} does not exist")


def no_turn(turn_id: str) -> NotFound:
    """The session has no such turn."""
    return NotFound("NOT_FOUND", f"turn {turn_id} does not exist")


def no_persona(name: str) -> NotFound:
    """There is no such persona."""
    return NotFound("NOT_FOUND", f"persona {name} does not exist")


def request_id_reused(request_id: str) -> AlreadyExists:
    """The request id names another request."""
    return AlreadyExists("REQUEST_ID_REUSED", f"request_id {request_id} was used for another request")


def bad_page_token() -> InvalidArgument:
    """The page token is none of ours."""
    return InvalidArgument("INVALID_ARGUMENT", "page_token is not one that this method gave")


def nothing_said() -> InvalidArgument:
    """The input holds white space and what no store takes, and nothing else."""
    message = "must hold at least one visible character"
    return InvalidArgument(
        "INVALID_ARGUMENT",
        f"field input.text: {message}",
        violations=[FieldViolation(field="input.text", description=message)],
    )


def past_the_end(from_seq: int, last: int) -> InvalidArgument:
    """The stream ended before that event."""
    return InvalidArgument(
        "INVALID_ARGUMENT", f"from_seq {from_seq} is past the end: the turn's last event is {last}"
    )


def context_too_long(needed: int, window: int) -> InvalidArgument:
    """What must be in the prompt does not fit into the model."""
    return InvalidArgument(
        "CONTEXT_TOO_LONG", f"the conversation needs {needed} tokens, the model takes {window}"
    )


def no_min_tokens(model: str) -> InvalidArgument:
    """The model cannot be made to go on."""
    message = f"options.min_tokens: model {model} does not take it"
    return InvalidArgument(
        "INVALID_ARGUMENT",
        message,
        violations=[FieldViolation("options.min_tokens", "not taken by this model")],
    )


def budget_too_small(needed: int, budget: int) -> ResourceExhausted:
    """The prompt alone uses the turn's budget up."""
    return ResourceExhausted(
        "BUDGET_EXHAUSTED", f"the prompt needs {needed} tokens, the budget of the turn is {budget}"
    )


def queue_full(full: QueueFull) -> ResourceExhausted:
    """Too many turns wait."""
    return ResourceExhausted(
        "QUEUE_FULL", str(full), metadata={"queue": full.queue, "waiting": str(full.waiting)},
        retry_after=random.uniform(*_COME_BACK_SECONDS),  # noqa: S311 - jitter
    )  # fmt: skip


def from_remote(service: str, error: grpc.aio.AioRpcError) -> SomaError:
    """Pass on what another service said, if it is the caller's to know."""
    failure = status.read(error)
    if failure.code is grpc.StatusCode.PERMISSION_DENIED and failure.reason:
        return PermissionDenied(failure.reason, failure.message, metadata=failure.metadata)
    return Unavailable(
        "DEPENDENCY_UNAVAILABLE", f"{service} does not answer; try again",
        retry_after=failure.retry_after or 1.0,
    )  # fmt: skip
