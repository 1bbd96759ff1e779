"""What identity refuses, and how it says so.

SomaError
├── Unauthenticated     CREDENTIALS_INVALID: password, refresh token, or a disabled user; told alike
├── PermissionDenied    SCOPE_MISSING: more scopes than the caller has; POLICY_DENIED: another user's key
├── NotFound            NOT_FOUND: does not exist, or belongs to another tenant
├── AlreadyExists       ALREADY_EXISTS: the email; REQUEST_ID_REUSED
├── InvalidArgument     INVALID_ARGUMENT: an unknown scope, a page token that is none
├── FailedPrecondition  FAILED_PRECONDITION: a disabled user, a secret that was shown
├── ResourceExhausted   RATE_LIMITED: too many failed sign-ins; QUEUE_FULL: too many at once
└── Unavailable         DEPENDENCY_UNAVAILABLE: no signing key yet
"""

from __future__ import annotations

from collections.abc import Iterable

from mesh.runtime.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)


def credentials_invalid() -> Unauthenticated:
    """The one answer to every sign-in that fails."""
    return Unauthenticated("CREDENTIALS_INVALID", "email, password or tenant do not match")


def refresh_invalid() -> Unauthenticated:
    """The one answer to every refresh token that is not good."""
    return Unauthenticated("CREDENTIALS_INVALID", "the refresh token is not valid")


def scopes_withheld(scopes: Iterable[str]) -> PermissionDenied:
    """More scopes than the giver has."""
    names = ", ".join(sorted(scopes))
    return PermissionDenied(
        "SCOPE_MISSING", f"these scopes cannot be given: {names}", metadata={"scopes": names}
    )


def scopes_unknown(scopes: Iterable[str]) -> InvalidArgument:
    """Scopes that no method asks for."""
    names = ", ".join(sorted(scopes))
    return InvalidArgument("INVALID_ARGUMENT", f"field scopes: no method needs {names}")


def not_found(kind: str, identifier: str) -> NotFound:
    """It does not exist, or not for this tenant."""
    return NotFound("NOT_FOUND", f"{kind} {identifier} does not exist", metadata={kind: identifier})


def email_taken() -> AlreadyExists:
    """The email has a user in this tenant."""
    return AlreadyExists("ALREADY_EXISTS", "a user with this email already exists")


def request_reused(request_id: str) -> AlreadyExists:
    """The same request id with another content."""
    return AlreadyExists(
        "REQUEST_ID_REUSED",
        f"request_id {request_id} was used for another request",
        metadata={"request_id": request_id},
    )


def foreign_key() -> PermissionDenied:
    """A key for another user would be that user."""
    return PermissionDenied(
        "POLICY_DENIED", "a key acts as its maker or as a service account, not as another user"
    )


def user_disabled(identifier: str) -> FailedPrecondition:
    """The user may not sign in any more."""
    return FailedPrecondition("FAILED_PRECONDITION", f"user {identifier} is disabled")


def secret_shown(key_id: str) -> FailedPrecondition:
    """A key's secret is shown once."""
    return FailedPrecondition(
        "FAILED_PRECONDITION", f"the secret of {key_id} was shown when it was made; make another key"
    )


def page_token_invalid() -> InvalidArgument:
    """The token did not come from a list of this service."""
    return InvalidArgument("INVALID_ARGUMENT", "field page_token: did not come from this list")


def too_many_failures(seconds: float) -> ResourceExhausted:
    """Sign-ins failed too often for this user or from this address."""
    return ResourceExhausted(
        "RATE_LIMITED", "too many sign-ins failed; try again later", retry_after=max(1.0, seconds)
    )


def too_many_at_once() -> ResourceExhausted:
    """More passwords to check than can be checked."""
    return ResourceExhausted("QUEUE_FULL", "too many sign-ins at once; try again", retry_after=1.0)


def no_signing_key() -> Unavailable:
    """No key signs yet."""
    return Unavailable("DEPENDENCY_UNAVAILABLE", "no key signs tokens yet; try again", retry_after=1.0)
