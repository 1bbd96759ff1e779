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

    def request(self) -> Descriptor:
        """Return the descriptor of the request.

        Raises:
            KeyError: the contract is of no service that is loaded.
        """
        service = descriptor_pool.Default().FindServiceByName(self.service)
        found: Descriptor = service.methods_by_name[self.name].input_type
        return found

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


def tenants_named(paths: tuple[Path, ...]) -> Callable[[Message, str], bool]:
    """Return whether a request names no other tenant than the one given, at the paths of its contract."""
    readers = tuple(map(_agrees, paths))
    if len(readers) == 1:
        return readers[0]

    def agrees(request: Message, tenant: str) -> bool:
        for reader in readers:  # noqa: SIM110  a generator expression costs more than the readers
            if not reader(request, tenant):
                return False
        return True

    return agrees


def _agrees(path: Path) -> Callable[[Any, str], bool]:
    step, *rest = path
    if not rest:
        return lambda message, tenant: getattr(message, step) in ("", tenant)
    if rest[0] == _MANY:
        each = _agrees(tuple(rest[1:])) if rest[1:] else None
        if each is None:
            return lambda message, tenant: all(name in ("", tenant) for name in getattr(message, step))

        def agree(message: Any, tenant: str) -> bool:
            for one in getattr(message, step):  # noqa: SIM110  as above
                if not each(one, tenant):
                    return False
            return True

        return agree
    within = _agrees(tuple(rest))
    return lambda message, tenant: not message.HasField(step) or within(getattr(message, step), tenant)


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
