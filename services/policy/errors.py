"""What the policy service refuses, and how it says so.

SomaError
├── InvalidArgument   INVALID_ARGUMENT: an attribute that is none, or is the principal's
└── Unavailable       POLICY_UNAVAILABLE: no bundle in force; AUDIT_UNAVAILABLE: no record, no answer

RuleSetRefusedError   the stored rules cannot be published; never sent to a caller
"""

from mesh.runtime.errors import FieldViolation, InvalidArgument


class RuleSetRefusedError(Exception):
    """The stored rules are not understood by this release, or went back in their version."""


def attribute_refused(name: str, cause: str) -> InvalidArgument:
    """An attribute that a caller may not give."""
    return InvalidArgument(
        "INVALID_ARGUMENT",
        f"field attributes: {name[:128]!r} {cause}",
        violations=(FieldViolation("attributes", f"{name[:128]!r} {cause}"),),
    )
