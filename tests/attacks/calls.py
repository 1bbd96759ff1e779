"""Every method of the contracts as an attacker calls it: each JSON path, and gRPC, with any message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from soma.options.v1 import options_pb2

from mesh.envoy.contract import Binding, read_contract
from mesh.policy import catalogue
from tests.attacks.doors import SECONDS, Outcome, json_outcome, outcome_of

DESCRIPTORS = Path(__file__).resolve().parents[2] / "gen" / "descriptors" / "soma.binpb"
VARIABLE = re.compile(r"\{([^}=]+)(?:=[^}]*)?\}")
NOWHERE = "0" * 31 + "1"


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method, and how JSON reaches it."""

    descriptor: MethodDescriptor
    bindings: tuple[Binding, ...]

    @property
    def path(self) -> str:
        """`/package.Service/Method`."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @property
    def access(self) -> int:
        return int(self._policy.access)

    @property
    def scope(self) -> str:
        return str(self._policy.scope)

    @property
    def _policy(self) -> options_pb2.MethodPolicy:
        policy: options_pb2.MethodPolicy = self.descriptor.GetOptions().Extensions[options_pb2.method]
        return policy

    @property
    def request(self) -> type[Message]:
        found: type[Message] = GetMessageClass(self.descriptor.input_type)
        return found

    @property
    def mapped(self) -> Binding:
        """`POST /package.Service/Method`."""
        return Binding("POST", self.path, "*")

    def url(self, binding: Binding, body: dict[str, Any]) -> str:
        """The binding's path with the request's ids in it."""
        return VARIABLE.sub(lambda found: str(body.get(found[1]) or NOWHERE), binding.template)

    def __str__(self) -> str:
        return self.path[1:]


@cache
def every_rpc() -> tuple[Rpc, ...]:
    """Every method of every service of ours, those for workloads only included."""
    exposed = {method.path: method.bindings for method in read_contract(DESCRIPTORS.read_bytes()).methods}
    found = {Rpc(method, ()).path: method for service in catalogue.services() for method in service.methods}
    return tuple(Rpc(method, exposed.get(path, ())) for path, method in found.items())


def with_token() -> tuple[Rpc, ...]:
    """The methods that need a token."""
    return tuple(rpc for rpc in every_rpc() if rpc.access == options_pb2.ACCESS_TOKEN)


async def by_json(
    http: aiohttp.ClientSession,
    url: str,
    rpc: Rpc,
    binding: Binding,
    *,
    headers: dict[str, str],
    body: dict[str, Any] | None = None,
) -> Outcome:
    """Call a method at one of its JSON paths; of a stream only the beginning is read."""
    has_body = binding.verb not in {"GET", "DELETE"}
    async with http.request(
        binding.verb,
        url + rpc.url(binding, body or {}),
        json=(body or {}) if has_body else None,
        headers=headers,
    ) as answer:
        streams = answer.headers.get("content-type", "").startswith("text/event-stream")
        text = (await answer.content.readany()).decode(errors="replace") if streams else await answer.text()
        return json_outcome(answer.status, text)


async def by_grpc(
    channel: grpc.aio.Channel, rpc: Rpc, request: Message, metadata: tuple[tuple[str, str], ...]
) -> Outcome:
    """Call a method by gRPC; of a stream the first answer is read."""
    codecs: Any = {
        "request_serializer": rpc.request.SerializeToString,
        "response_deserializer": GetMessageClass(rpc.descriptor.output_type).FromString,
    }
    try:
        if rpc.descriptor.server_streaming:
            stream: Any = channel.unary_stream(rpc.path, **codecs)(
                request, metadata=metadata, timeout=SECONDS
            )
            answer = await stream.read()
            stream.cancel()
        else:
            unary: Any = channel.unary_unary(rpc.path, **codecs)
            answer = await unary(request, metadata=metadata, timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        return outcome_of(error)
    return Outcome(200, "", "" if answer is grpc.aio.EOF else str(answer))


def as_body(request: Message) -> dict[str, Any]:
    """A request as JSON."""
    found: dict[str, Any] = json_format.MessageToDict(request, preserving_proto_field_name=True)
    return found


def fields_of(message: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldDescriptor]]:
    """Every field of a message and of those within it, by its path; a type within itself only once."""
    for field in message.fields:
        path = (*at, field.name)
        yield path, field
        held = field.message_type
        if held is not None and len(path) < 5 and held.full_name not in at and held is not message:
            yield from fields_of(held, path)
