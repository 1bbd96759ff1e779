"""Errors of the gateway.

UnreadableBody       the body is not JSON, or not an object
InvalidParameter     a parameter has a wrong type or value; `param` names it
UnsupportedParameter a parameter that OpenAI knows and no model here serves
UnknownParameter     a parameter that nobody knows
"""

from __future__ import annotations

from typing import Any

from mesh.runtime.errors import FieldViolation, InvalidArgument


class UnreadableBody(InvalidArgument):
    """The body is not JSON, or not an object."""

    def __init__(self, why: str) -> None:
        super().__init__("INVALID_ARGUMENT", f"the request body {why}")


class InvalidParameter(InvalidArgument):
    """A parameter has a wrong type or value."""

    def __init__(self, param: str, why: str) -> None:
        self.param = param
        super().__init__(
            "INVALID_ARGUMENT",
            f"{param}: {why}",
            metadata={"param": param},
            violations=[FieldViolation(field=param, description=why)],
        )


class UnsupportedParameter(InvalidParameter):
    """A parameter that OpenAI knows and no model here serves."""

    def __init__(self, param: str, value: Any) -> None:
        super().__init__(param, f"the value {value!r:.80} is not supported by the models of this server")


class UnknownParameter(InvalidParameter):
    """A parameter that nobody knows."""

    def __init__(self, param: str) -> None:
        super().__init__(param, "unrecognized request argument")
