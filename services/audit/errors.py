"""What the audit service refuses, and how it says so.

SomaError
├── InvalidArgument    INVALID_ARGUMENT: a record without id or time, a page token that is none
├── PermissionDenied   TENANT_MISMATCH: a record of another tenant than the caller acts for
└── NotFound           NOT_FOUND: no such record, or another tenant's
"""

from mesh.runtime.errors import FieldViolation, InvalidArgument, NotFound, PermissionDenied


def record_malformed(place: int, field: str, cause: str) -> InvalidArgument:
    """A record that cannot be told from others later."""
    name = f"records[{place}].{field}"
    return InvalidArgument(
        "INVALID_ARGUMENT", f"field {name}: {cause}", violations=(FieldViolation(name, cause),)
    )


def tenant_mismatch() -> PermissionDenied:
    """A record of another tenant than the caller acts for."""
    return PermissionDenied("TENANT_MISMATCH", "a record names another tenant than the caller acts for")


def record_not_found(record_id: str) -> NotFound:
    """It does not exist, or not for this tenant."""
    return NotFound("NOT_FOUND", f"record {record_id} does not exist", metadata={"record": record_id})


def page_token_invalid() -> InvalidArgument:
    """The token did not come from a list of this service."""
    return InvalidArgument("INVALID_ARGUMENT", "field page_token: did not come from this list")
