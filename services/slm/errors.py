"""What slm refuses, and how it says so. Failures of models themselves are `mesh.inference.errors`.

SomaError
├── NotFound            MODEL_NOT_FOUND: does not exist, or belongs to another tenant
├── AlreadyExists       ALREADY_EXISTS: the name; REQUEST_ID_REUSED
├── InvalidArgument     INVALID_ARGUMENT: a profile that cannot work
├── PermissionDenied    PROVIDER_REFUSED: an address that may not be reached (mesh.inference.addresses)
├── FailedPrecondition  FAILED_PRECONDITION: a built-in profile stays; a model that makes no vectors
└── ResourceExhausted   TOO_LARGE
"""

from __future__ import annotations

from mesh.runtime.errors import (
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
)


def model_not_found(name: str) -> NotFound:
    """It does not exist, or not for this tenant."""
    return NotFound("MODEL_NOT_FOUND", f"model {name} does not exist", metadata={"model": name})


def name_taken(name: str) -> AlreadyExists:
    """The tenant, or the platform, has a profile of this name."""
    return AlreadyExists("ALREADY_EXISTS", f"a model {name} already exists", metadata={"model": name})


def request_reused(request_id: str) -> AlreadyExists:
    """The same request id with another content."""
    return AlreadyExists(
        "REQUEST_ID_REUSED",
        f"request_id {request_id} was used for another request",
        metadata={"request_id": request_id},
    )


def wrong_field(field: str, description: str) -> InvalidArgument:
    """A profile that cannot work."""
    return InvalidArgument(
        "INVALID_ARGUMENT",
        f"field model.{field}: {description}",
        violations=(FieldViolation(f"model.{field}", description),),
    )


def built_in_stays(name: str) -> FailedPrecondition:
    """Built-in profiles are not to be changed."""
    return FailedPrecondition("FAILED_PRECONDITION", f"model {name} is built in and stays")


def makes_no_vectors(name: str) -> FailedPrecondition:
    """The model's task is another one."""
    return FailedPrecondition("FAILED_PRECONDITION", f"model {name} does not make vectors")


def page_token_invalid() -> InvalidArgument:
    """The token did not come from a list of this service."""
    return InvalidArgument("INVALID_ARGUMENT", "field page_token: did not come from this list")
