"""What the contract says of a method: its `soma.options.v1` annotations, read once.

Everything the interceptors need per call is worked out here when a server or a
stub is made. A method without annotations has no `MethodContract`, and a server
refuses to serve it (but for gRPC's own health, reflection and channelz).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from soma.options.v1 import options_pb2

from mesh.runtime.errors import ConfigurationError

_DEPTH: Final = 8
_MANY: Final = "*"
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MethodContract:
    """One method, with its annotations."""

    service: str
    name: str
    access: int
    scope: str
    tenant: int
    idempotency: int
    audit: int
    request_streaming: bool
    response_streaming: bool
    takes_request_id: bool
    tenant_fields: tuple[Path, ...]
    """Where a request names a tenant; `*` stands for every element of a list."""
    validated: bool
    """Whether any field of the request carries a validation rule."""

    @property
    def path(self) -> str:
        """`/soma.memory.v1.Memories/Recall`."""
        return f"/{self.service}/{self.name}"

    @property
    def idempotent(self) -> bool:
        """Whether a repeat of the call has no second effect."""
        if self.idempotency == options_pb2.IDEMPOTENCY_REQUEST_ID:
            return self.takes_request_id
        return self.idempotency in (
            options_pb2.IDEMPOTENCY_READ_ONLY,
            options_pb2.IDEMPOTENCY_NATURAL,
        )


def contract_of(method: MethodDescriptor) -> MethodContract | None:
    """Return the contract of a method, or None where it has no annotations."""
    options = method.GetOptions()
    if not options.HasExtension(options_pb2.method):
        return None
    policy = options.Extensions[options_pb2.method]
    request = method.input_type
    return MethodContract(
        service=method.containing_service.full_name,
        name=method.name,
        access=policy.access,
        scope=policy.scope,
        tenant=policy.tenant,
        idempotency=policy.idempotency,
        audit=policy.audit,
        request_streaming=method.client_streaming,
        response_streaming=method.server_streaming,
        takes_request_id=policy.idempotency == options_pb2.IDEMPOTENCY_REQUEST_ID
        and "request_id" in request.fields_by_name,
        tenant_fields=tuple(_tenant_fields(request, (), frozenset())),
        validated=_validated(request, set()),
    )


@lru_cache(maxsize=1024)
def method_by_path(path: str) -> MethodContract | None:
    """Return the contract of `/package.Service/Method`; None where it is not known or not ours."""
    service, _, name = path.removeprefix("/").partition("/")
    try:
        found = descriptor_pool.Default().FindServiceByName(service)
    except KeyError:
        return None
    method = found.methods_by_name.get(name)
    return contract_of(method) if method is not None else None


def idempotent_by_path(path: str) -> bool:
    """Whether a call of this method may be repeated."""
    found = method_by_path(path)
    return found is not None and found.idempotent


def service_contracts(service: str) -> dict[str, MethodContract]:
    """Return the contracts of a service's methods by name.

    Raises:
        ConfigurationError: the service is unknown, or a method of it has no annotations.
    """
    try:
        found = descriptor_pool.Default().FindServiceByName(service)
    except KeyError:
        raise ConfigurationError(f"no descriptor of {service} is loaded") from None
    contracts = {}
    for method in found.methods:
        contract = contract_of(method)
        if contract is None or not (
            contract.access and contract.tenant and contract.idempotency and contract.audit
        ):
            raise ConfigurationError(f"{service}/{method.name} lacks soma.options.v1 annotations")
        contracts[method.name] = contract
    return contracts


def tenants_named(request: Message, path: Path) -> Iterator[str]:
    """Yield the tenants that a request names at one path of its contract."""
    value: Any = request
    for depth, step in enumerate(path):
        if step == _MANY:
            for element in value:
                yield from tenants_named(element, path[depth + 1 :])
            return
        if depth < len(path) - 1 and path[depth + 1] != _MANY and not value.HasField(step):
            return
        value = getattr(value, step)
    if value:
        yield value


def tenant_reader(paths: tuple[Path, ...]) -> Callable[[Message], Iterator[str]]:
    """Return a function that yields every tenant a request names."""

    def read(request: Message) -> Iterator[str]:
        for path in paths:
            yield from tenants_named(request, path)

    return read


def sensitive_fields(message: Descriptor) -> frozenset[str]:
    """Return the names of the fields of `message` that never reach a log."""
    return frozenset(
        field.name for field in message.fields if field.GetOptions().Extensions[options_pb2.field].sensitive
    )


def _tenant_fields(message: Descriptor, at: Path, seen: frozenset[str]) -> Iterator[Path]:
    if message.full_name in seen or len(at) > _DEPTH:
        return
    seen = seen | {message.full_name}
    for field in message.fields:
        step = (*at, field.name)
        if field.name == "tenant" and field.type == FieldDescriptor.TYPE_STRING:
            yield step
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            inner = (*step, _MANY) if field.is_repeated else step
            yield from _tenant_fields(field.message_type, inner, seen)


def _validated(message: Descriptor, seen: set[str]) -> bool:
    if message.full_name in seen:
        return False
    seen.add(message.full_name)
    if _has_rules(message) or any(_has_rules(oneof) for oneof in message.oneofs):
        return True
    return any(
        _has_rules(field) or (field.message_type is not None and _validated(field.message_type, seen))
        for field in message.fields
    )


def _has_rules(described: Any) -> bool:
    return any(
        extension.full_name.startswith("buf.validate.")
        for extension, _ in described.GetOptions().ListFields()
        if extension.is_extension
    )
