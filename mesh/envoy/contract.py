"""What the edge must know of the contracts: each exposed method, its access and its JSON bindings.

Read from the descriptor set, so that a method is reachable exactly when its annotations say so.
Methods for workloads only are left out: there is no route to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from soma.options.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.api import http_pb2
    from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

HTTP_BODY = "google.api.HttpBody"
_VARIABLE = re.compile(r"\{([^}=]+)(=[^}]*)?\}")


class ContractError(Exception):
    """A method whose annotations do not say who may call it, or how."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to call a method by HTTP: verb, path template, and which field the body is."""

    verb: str
    template: str
    body: str

    @property
    def exact(self) -> bool:
        """Whether the path holds no variable."""
        return "{" not in self.template

    @property
    def pattern(self) -> str:
        """The path as an RE2 expression; a variable is one segment without a verb's colon."""
        parts = _VARIABLE.split(self.template)
        return "".join(
            re.escape(part).replace("/", "/") if index % 3 == 0 else _segment(part)
            for index, part in enumerate(parts)
            if index % 3 != 2
        )


def _segment(_name: str) -> str:
    return "[^/:]+"


@dataclass(frozen=True, slots=True)
class Method:
    """One method that the edge exposes."""

    service: str
    name: str
    owner: str
    public: bool
    scope: str
    repeatable: bool
    streams: bool
    request: str
    bindings: tuple[Binding, ...]

    @property
    def path(self) -> str:
        """The gRPC path."""
        return f"/{self.service}/{self.name}"

    @property
    def takes_raw_body(self) -> bool:
        """Whether the body is the method's own business (OpenAI's shapes)."""
        return self.request == HTTP_BODY


@dataclass(frozen=True, slots=True)
class Contract:
    """The exposed methods, and the descriptor set that the transcoder reads.

    Attributes:
        methods: in the order of the descriptor set.
        descriptors: the `FileDescriptorSet`, with a binding at its gRPC path for each method.
        shapes: for each message that a JSON body can hold: JSON or proto field name -> shape (see
            `mesh/envoy/body_check.py`).
    """

    methods: tuple[Method, ...]
    descriptors: bytes
    shapes: dict[str, dict[str, str]]

    @property
    def services(self) -> tuple[str, ...]:
        """Full names of the services with an exposed method."""
        return tuple(dict.fromkeys(method.service for method in self.methods))

    @property
    def owners(self) -> tuple[str, ...]:
        """The workloads that serve them."""
        return tuple(dict.fromkeys(method.owner for method in self.methods))


def read_contract(descriptors: bytes) -> Contract:
    """Read a descriptor set.

    Raises:
        ContractError: a method of ours says nothing about its access, or needs a scope and names none.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    services = [
        pool.FindServiceByName(f"{file.package}.{service.name}")
        for file in files.file
        if file.package.startswith("soma.")
        for service in file.service
    ]
    methods = tuple(method for service in services for method in _exposed(service))
    _map_paths(files, {method.path for method in methods})
    shapes: dict[str, dict[str, str]] = {}
    for method in methods:
        if not method.takes_raw_body:
            _add_shapes(pool.FindMessageTypeByName(method.request), shapes)
    return Contract(methods=methods, descriptors=files.SerializeToString(deterministic=True), shapes=shapes)


def _map_paths(files: descriptor_pb2.FileDescriptorSet, exposed: set[str]) -> None:
    """Make every exposed method callable by JSON at its gRPC path, too.

    The transcoder's own `auto_mapping` does that only for methods without a binding.
    """
    for file in files.file:
        for service in file.service:
            for method in service.method:
                path = f"/{file.package}.{service.name}/{method.name}"
                if path not in exposed:
                    continue
                rule = method.options.Extensions[annotations_pb2.http]
                target = rule.additional_bindings.add() if rule.WhichOneof("pattern") else rule
                target.post, target.body = path, "*"


def _exposed(service: ServiceDescriptor) -> Iterator[Method]:
    for method in service.methods:
        options = descriptor_pb2.MethodOptions.FromString(method.GetOptions().SerializeToString())
        policy = options.Extensions[options_pb2.method]
        if policy.access == options_pb2.ACCESS_UNSPECIFIED:
            raise ContractError(f"{method.full_name} does not say who may call it")
        if policy.access == options_pb2.ACCESS_WORKLOAD:
            continue
        if policy.access == options_pb2.ACCESS_TOKEN and not policy.scope:
            raise ContractError(f"{method.full_name} needs a token and names no scope")
        yield _method(service, method, policy, options.Extensions[annotations_pb2.http])


def _method(
    service: ServiceDescriptor,
    method: MethodDescriptor,
    policy: options_pb2.MethodPolicy,
    rule: http_pb2.HttpRule,
) -> Method:
    rules = [rule, *rule.additional_bindings]
    return Method(
        service=service.full_name,
        name=method.name,
        owner=service.full_name.split(".")[1],
        public=policy.access == options_pb2.ACCESS_PUBLIC,
        scope=policy.scope,
        # Not by request id: a request without one is given one by the service, a new one each time.
        repeatable=policy.idempotency in (options_pb2.IDEMPOTENCY_READ_ONLY, options_pb2.IDEMPOTENCY_NATURAL),
        streams=method.client_streaming or method.server_streaming,
        request=method.input_type.full_name,
        bindings=tuple(binding for one in rules for binding in _bindings(one)),
    )


def _bindings(rule: http_pb2.HttpRule) -> Iterator[Binding]:
    verb = rule.WhichOneof("pattern")
    if verb is None:
        return
    if verb == "custom":
        yield Binding(rule.custom.kind, rule.custom.path, rule.body)
    else:
        yield Binding(verb.upper(), getattr(rule, verb), rule.body)


_STRINGS = {
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "google.protobuf.FieldMask",
}
_FREE = {
    "google.protobuf.Struct",
    "google.protobuf.Value",
    "google.protobuf.ListValue",
    "google.protobuf.Any",
    HTTP_BODY,
}


def _add_shapes(message: Descriptor, shapes: dict[str, dict[str, str]]) -> None:
    """Collect the shapes of a message and of all that it can hold."""
    if message.full_name in shapes:
        return
    fields = shapes.setdefault(message.full_name, {})
    for field in message.fields:
        held = field.message_type
        if held is not None and held.GetOptions().map_entry:
            value = held.fields_by_name["value"]
            shape = "{" + _shape(value, shapes)
        else:
            shape = ("[" if field.is_repeated else "") + _shape(field, shapes)
        fields[field.name] = fields[field.json_name] = shape


def _shape(field: FieldDescriptor, shapes: dict[str, dict[str, str]]) -> str:
    """Name a value's shape: a message's name, or one letter for what JSON may stand there."""
    held = field.message_type
    if held is not None:
        if held.full_name in _STRINGS:
            return "s"
        if held.full_name in _FREE or held.full_name.startswith("google.protobuf."):
            return "*"
        _add_shapes(held, shapes)
        return held.full_name
    match field.type:
        case FieldDescriptor.TYPE_STRING | FieldDescriptor.TYPE_BYTES:
            return "s"
        case FieldDescriptor.TYPE_BOOL:
            return "b"
        case FieldDescriptor.TYPE_ENUM:
            return "e"
        case _:
            return "n"
