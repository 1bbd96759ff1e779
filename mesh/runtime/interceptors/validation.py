"""The shape of requests: protovalidate's rules, answered with the fields that break them."""

from collections.abc import Iterable
from typing import Any

import protovalidate
from google.protobuf.message import Message

from mesh.runtime.acceptance import acceptance
from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.errors import FieldViolation, InvalidArgument
from mesh.runtime.hooks import NOTHING, Hooks


class Validation:
    """Refuses requests that break a rule of their contract."""

    def __init__(self) -> None:
        """Share one validator: it keeps the compiled rules."""
        self._validator = protovalidate.Validator()

    def bind(self, contract: MethodContract) -> Hooks:
        """Validate every request message of methods that have rules."""
        if not contract.validated:
            return NOTHING
        collect = self._validator.collect_violations
        accepts = acceptance(contract.request()) or _never

        def inspect(_call: CallContext, request: Message) -> None:
            if accepts(request):
                return
            found = collect(request)
            if found:
                raise invalid(violation.proto for violation in found)

        return Hooks(inspect=inspect)


def _never(_request: Message) -> bool:
    return False


def invalid(violations: Iterable[Any]) -> InvalidArgument:
    """Return the error for a list of `buf.validate.Violation`."""
    fields = [
        FieldViolation(
            field=field_path(violation.field), description=violation.message,
            reason=violation.rule_id,
        )
        for violation in violations
    ]  # fmt: skip
    first = fields[0]
    return InvalidArgument(
        "INVALID_ARGUMENT",
        f"field {first.field}: {first.description}" if first.field else first.description,
        violations=fields,
    )


def field_path(path: Any) -> str:
    """Return `input.parts[2].text` for a `buf.validate.FieldPath`."""
    steps = []
    for element in path.elements if path is not None else ():
        subscript = element.subscript
        key = "" if subscript is None else f"[{subscript.value!r}]"
        steps.append(f"{element.field_name}{key}")
    return ".".join(steps)
