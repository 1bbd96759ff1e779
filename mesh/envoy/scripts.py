"""The Lua scripts of the edge. Routes choose which one runs; gRPC routes choose none.

`body_check` refuses JSON fields that the contract does not know (the transcoder drops them without
a word) and values of a wrong kind, naming the field. `created` makes a success a 201,
which gRPC has no word for. `openai_errors` gives failures on OpenAI's paths OpenAI's shape.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from mesh.envoy.typed import HTTP_FILTERS, Resource, extension, typed

if TYPE_CHECKING:
    from mesh.envoy.contract import Contract

SCRIPTS_FILTER = "soma.scripts"
BODY_CHECK = "body_check"
BODY_CHECK_CREATED = "body_check_created"
OPENAI_ERRORS = "openai_errors"

_PER_ROUTE = f"{HTTP_FILTERS}.lua.v3.LuaPerRoute"


def scripts_filter(contract: Contract) -> Resource:
    """Give the filter, which does nothing on a route that names no script."""
    return extension(
        SCRIPTS_FILTER,
        f"{HTTP_FILTERS}.lua.v3.Lua",
        source_codes={
            BODY_CHECK: {"inline_string": body_check_source(contract)},
            BODY_CHECK_CREATED: {"inline_string": body_check_source(contract) + _read("created")},
            OPENAI_ERRORS: {"inline_string": _read(OPENAI_ERRORS)},
        },
    )


def check_body(message: str, *, creates: bool) -> Resource:
    """Check JSON bodies of this route against a message; a success that creates is a 201."""
    script = BODY_CHECK_CREATED if creates else BODY_CHECK
    return {SCRIPTS_FILTER: typed(_PER_ROUTE, name=script, filter_context={"message": message})}


def shape_errors() -> Resource:
    """Give failures on this route OpenAI's shape."""
    return {SCRIPTS_FILTER: typed(_PER_ROUTE, name=OPENAI_ERRORS)}


def body_check_source(contract: Contract) -> str:
    """The script, preceded by the table of what the contract knows."""
    lines = ["local SHAPES = {"]
    for message in sorted(contract.shapes):
        fields = contract.shapes[message]
        entries = ", ".join(f'["{name}"]="{fields[name]}"' for name in sorted(fields))
        lines.append(f'  ["{message}"] = {{{entries}}},')
    lines.append("}\n")
    return "\n".join(lines) + _read(BODY_CHECK)


def _read(name: str) -> str:
    return files("mesh.envoy").joinpath(f"{name}.lua").read_text(encoding="utf-8")
