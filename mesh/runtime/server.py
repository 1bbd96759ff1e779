"""The gRPC server of a process: mTLS only, the chain around every handler.

gRPC's own services (health, reflection, channelz) go through the same chain,
with a contract made here: any workload of the mesh may ask for health.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
from soma.options.v1 import options_pb2

from mesh.runtime.accepting import AcceptingServer
from mesh.runtime.certificates import Certificate, Certificates
from mesh.runtime.contract import MethodContract, service_contracts
from mesh.runtime.errors import ConfigurationError
from mesh.runtime.handlers import Chain
from mesh.runtime.hooks import Handler, Interceptor
from mesh.runtime.inflight import InFlight

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Without it the fourth keepalive ping of an idle stream ends the connection (too_many_pings).
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.max_connection_age_grace_ms", 600_000),
    ("grpc.max_metadata_size", 32 * 1024),
)
Registration = Callable[[Any, Any], None]


@dataclass(slots=True)
class Served:
    """One service to serve."""

    register: Registration
    servicer: object
    service: str
    raw_responses: frozenset[str] = frozenset()
    own_contract: bool = True
    decides_itself: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Recorder:
    """Stands where generated code expects a server, and keeps the handlers."""

    handlers: dict[str, dict[str, Handler]] = field(default_factory=dict)

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        self.handlers[service] = handlers

    def add_generic_rpc_handlers(self, _handlers: Iterable[Any]) -> None:
        """The same handlers again, in a form that hides them."""


def build_server(
    served: Collection[Served],
    *,
    interceptors: Collection[Interceptor],
    inflight: InFlight,
    max_message_bytes: int,
    max_concurrent_calls: int,
) -> AcceptingServer:
    """Return a server that serves everything through the chain; it has no port yet."""
    server = AcceptingServer(
        options=(
            *_OPTIONS,
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
        ),
        most_calls=max_concurrent_calls,
    )
    for each in served:
        handlers = _wrapped(each, tuple(interceptors), inflight)
        register = server.add_registered_method_handlers
        register(each.service, handlers)
    return server


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Return credentials that demand a client certificate and follow rotations."""

    def configure(own: Certificate) -> Any:
        return grpc.ssl_server_certificate_configuration(
            [(own.key, own.chain)], root_certificates=own.authority
        )

    given = certificates.current

    def fetch() -> Any:
        # Runs in a thread of gRPC at each handshake; None means "as before".
        nonlocal given
        certificates.refresh()
        latest = certificates.current
        if latest is given:
            return None
        given = latest
        return configure(latest)

    return grpc.dynamic_ssl_server_credentials(configure(given), fetch, require_client_authentication=True)


def _wrapped(served: Served, interceptors: tuple[Interceptor, ...], inflight: InFlight) -> dict[str, Handler]:
    recorder = _Recorder()
    served.register(served.servicer, recorder)
    try:
        handlers = recorder.handlers[served.service]
    except KeyError:
        raise ConfigurationError(
            f"{served.register} registers {sorted(recorder.handlers)}, not {served.service}"
        ) from None
    contracts = service_contracts(served.service) if served.own_contract else {}
    if unknown := (served.raw_responses | served.decides_itself) - set(handlers):
        raise ConfigurationError(f"{served.service} has no methods {sorted(unknown)}")
    wrapped = {}
    for name, handler in handlers.items():
        contract = contracts.get(name) or infrastructure(served.service, name, handler)
        chain = Chain(contract, interceptors, inflight)
        wrapped[name] = chain.wrap(handler, raw=name in served.raw_responses)
    return wrapped


def infrastructure(service: str, name: str, handler: Handler) -> MethodContract:
    """Return the contract of a method of gRPC's own services."""
    return MethodContract(
        service=service,
        name=name,
        access=options_pb2.ACCESS_PUBLIC,
        scope="",
        tenant=options_pb2.TENANT_NONE,
        idempotency=options_pb2.IDEMPOTENCY_READ_ONLY,
        audit=options_pb2.AUDIT_NEVER,
        request_streaming=bool(handler.request_streaming),
        response_streaming=bool(handler.response_streaming),
        takes_request_id=False,
        tenant_fields=(),
        validated=False,
    )
