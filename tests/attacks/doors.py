"""The ways in: the edge by JSON and by gRPC, and each service's own port with a workload's certificate.

A door takes values of `authorization` as they are and tells what became of the call in one form, whatever
the protocol: HTTP's status for what gRPC's code says, the reason, and all of the answer's text.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass

from mesh.policy import catalogue
from mesh.runtime.status import read
from tests.support.identity import channel_as
from tests.support.stack import Stack

HTTP_OF = {
    grpc.StatusCode.OK: 200, grpc.StatusCode.INVALID_ARGUMENT: 400, grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400, grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403, grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 404, grpc.StatusCode.ALREADY_EXISTS: 409, grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429, grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNAVAILABLE: 503, grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}  # fmt: skip
SECONDS = 30.0
LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call."""

    status: int
    reason: str
    text: str

    @property
    def let_in(self) -> bool:
        """Whether the caller was taken for somebody."""
        return self.status not in {400, 401, 403, 431}


Ask = Callable[[Sequence[str]], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Door:
    """One way in."""

    name: str
    ask: Ask
    printable: bool = False
    """Whether its client sends visible ASCII only."""


# For each service a method that any valid token with all scopes may call with an empty request.
PROBES = {
    "identity": "soma.identity.v1.Tokens/WhoAmI",
    "policy": "soma.policy.v1.Decisions/Evaluate",
    "orchestrator": "soma.orchestrator.v1.Sessions/ListSessions",
    "memory": "soma.memory.v1.Memories/ListMemories",
    "slm": "soma.slm.v1.Models/ListModels",
    "gateway": "soma.gateway.v1.OpenAI/ListModels",
    "audit": "soma.audit.v1.Records/ListRecords",
}


def outcome_of(error: grpc.aio.AioRpcError) -> Outcome:
    """Give a failed call's outcome."""
    failure = read(error)
    trailing: Any = error.trailing_metadata()
    return Outcome(HTTP_OF.get(error.code(), 500), failure.reason, f"{failure.message} {trailing}")


def json_outcome(status: int, text: str) -> Outcome:
    """Give the outcome that an HTTP answer tells of."""
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    error = body.get("error") if isinstance(body, dict) else None
    details = body.get("details", []) if isinstance(body, dict) else []
    reason = next((one["reason"] for one in details if "reason" in one), "")
    if isinstance(error, dict):  # OpenAI's shape tells the same reason in small letters
        reason = str(error.get("code") or "").upper()
    return Outcome(status, reason, text)


def json_door(http: aiohttp.ClientSession, url: str) -> Door:
    """The edge by JSON."""

    async def ask(values: Sequence[str]) -> Outcome:
        sent = [("authorization", value) for value in values]
        async with http.get(f"{url}/v1/whoami", headers=sent) as answer:
            return json_outcome(answer.status, await answer.text())

    return Door("edge by JSON", ask)


def grpc_door(name: str, channel: grpc.aio.Channel, path: str) -> Door:
    """A method by gRPC with an empty request."""
    service, _, method = path.partition("/")
    found = next(one for one in catalogue.services() if one.full_name == service).methods_by_name[method]
    request, answer = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
    call: Any = channel.unary_unary(
        f"/{path}", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
    )

    async def ask(values: Sequence[str]) -> Outcome:
        metadata = tuple(("authorization", value) for value in values)
        try:
            got = await call(request(), metadata=metadata, timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            return outcome_of(error)
        return Outcome(200, "", str(got))

    return Door(name, ask, printable=True)


def edge_channel(stack: Stack) -> grpc.aio.Channel:
    """A channel to the edge as any client has it."""
    credentials = grpc.ssl_channel_credentials(stack.ca_file.read_bytes())
    return grpc.aio.secure_channel(stack.grpc_target, credentials, (("grpc.max_metadata_size", LARGEST),))


@asynccontextmanager
async def doors(stack: Stack, http: aiohttp.ClientSession) -> AsyncIterator[list[Door]]:
    """Every way in; a service's own port with the edge's certificate, which may call everything."""
    async with AsyncExitStack() as opened:
        edge = await opened.enter_async_context(edge_channel(stack))
        found = [json_door(http, stack.edge_url), grpc_door("edge by gRPC", edge, PROBES["identity"])]
        for service, path in PROBES.items():
            channel = await opened.enter_async_context(channel_as(stack.settings, "edge", to=service))
            found.append(grpc_door(service, channel, path))
        yield found
