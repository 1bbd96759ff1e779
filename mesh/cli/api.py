"""`soma api`: any RPC of the contracts, by its descriptors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mesh.cli.client import SECONDS, Edge, edge, failures
from mesh.cli.failures import Exit, Failure
from mesh.cli.output import Output, OutputOption, as_dict, as_json, as_yaml, clean

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def api(
    method: Annotated[
        str,
        typer.Argument(
            help="Sessions.CreateSession, or in full soma.orchestrator.v1.Sessions.CreateSession."
        ),
    ] = "",
    body: Annotated[
        str, typer.Argument(help="The request as JSON; `-` reads standard input, `@file` a file.")
    ] = "{}",
    list_methods: Annotated[bool, typer.Option("--list", help="List the methods and their scopes.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for a unary call.")] = SECONDS,
    output: OutputOption = Output.JSON,
) -> None:
    """Call any RPC with JSON; a stream is printed as one JSON object a line, as it comes.

    Example: soma api Sessions.ListSessions '{"page_size": 3}'
    """
    if list_methods:
        print("\n".join(_listed()))
        return
    with failures():
        found = find_method(method)
        request = read_request(found, body)
    with edge() as open_edge:
        _call(open_edge, found, request, timeout, output)


def find_method(name: str) -> MethodDescriptor:
    """Find a method by `Service.Method` or `package.Service.Method`; a slash will do as well.

    Raises:
        Failure: there is none of that name, or more than one.
    """
    service, _, method = name.replace("/", ".").strip(".").rpartition(".")
    known = methods()
    found = [one for full, one in known.items() if full == f"{service}.{method}"]
    found = found or [one for full, one in known.items() if service and full.endswith(f".{service}.{method}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"{name} is the name of {', '.join(one.full_name for one in found)}", Exit.USAGE)
    raise Failure(f"no method is called {name or '(nothing)'}", Exit.USAGE, fix="see `soma api --list`")


def methods() -> dict[str, MethodDescriptor]:
    """Give every method of the contracts by its full name."""
    from mesh.policy.catalogue import services

    return {method.full_name: method for service in services() for method in service.methods}


def read_request(method: MethodDescriptor, body: str) -> Message:
    """Read a request from JSON.

    Raises:
        Failure: it is not the method's request.
    """
    from google.api.httpbody_pb2 import HttpBody
    from google.protobuf import json_format
    from google.protobuf.message_factory import GetMessageClass

    if method.client_streaming:
        raise Failure(f"{method.full_name} takes a stream of requests; soma api sends one", Exit.USAGE)
    text = _text(body)
    request: Message = GetMessageClass(method.input_type)()
    if method.input_type.full_name == HttpBody.DESCRIPTOR.full_name:
        request.MergeFrom(HttpBody(content_type="application/json", data=text.encode()))
        return request
    try:
        value = json.loads(text or "{}")
        if not isinstance(value, dict):
            raise Failure("the body is not a JSON object", Exit.USAGE)
        json_format.ParseDict(value, request)
    except (json.JSONDecodeError, json_format.ParseError, RecursionError) as error:
        raise Failure(f"the body is not a {method.input_type.name}: {error}", Exit.USAGE) from error
    return request


def _text(body: str) -> str:
    try:
        if body == "-":
            return sys.stdin.read()
        return Path(body[1:]).read_text(encoding="utf-8") if body.startswith("@") else body
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"the body cannot be read: {error}", Exit.USAGE) from error


def _call(
    open_edge: Edge, method: MethodDescriptor, request: Message, timeout: float, output: Output
) -> None:
    from google.protobuf.message_factory import GetMessageClass

    answer = GetMessageClass(method.output_type)
    make: Any = open_edge.channel.unary_stream if method.server_streaming else open_edge.channel.unary_unary
    call = make(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    if not method.server_streaming:
        _print(call(request, timeout=timeout), output, indent=2)
        return
    for each in call(request):
        _print(each, output, indent=None)


def _print(message: Message, output: Output, *, indent: int | None) -> None:
    from google.api.httpbody_pb2 import HttpBody

    if isinstance(message, HttpBody):
        text = message.data.decode("utf-8", "replace")
        print(_pretty(text) if "json" in message.content_type else clean(text), end="\n" if indent else "")
    elif output is Output.YAML:
        print(as_yaml(as_dict(message)) + ("" if indent else "\n---"))
    else:
        print(as_json(as_dict(message), indent=indent))
    sys.stdout.flush()


def _pretty(text: str) -> str:
    try:
        return as_json(json.loads(text))
    except json.JSONDecodeError:
        return clean(text)


def _listed() -> Iterator[str]:
    from mesh.runtime.contract import contract_of

    for full, method in sorted(methods().items()):
        contract = contract_of(method)
        yield f"{full:<56} {contract.scope if contract else ''}".rstrip()
