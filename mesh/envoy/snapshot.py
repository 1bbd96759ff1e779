"""The snapshot: all that the configuration of an edge is a function of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesh.envoy.contract import Contract

STABLE = "stable"
CANARY = "canary"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host (an IP address) and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`.

        Raises:
            ValueError: it is not that.
        """
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{text!r} is not host:port")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One worker process of a service."""

    process: str
    service: str
    version: str
    address: Address
    draining: bool = False


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What an installation chooses about its edge; a change is a change of listeners.

    Attributes:
        http: plain HTTP, on loopback only; None serves none.
        tls: HTTP and gRPC over TLS.
        access_log: file that gets one JSON object a call.
        collector: address of an OpenTelemetry collector (gRPC), if there is one.
        trace_percent: how much of the traffic is sampled when there is a collector.
        origins: RE2 expressions of the browser origins that may call.
        request_seconds: how long a client may take to send one whole request.
    """

    http: Address
    tls: Address
    access_log: str
    collector: Address | None = None
    trace_percent: float = 1.0
    origins: tuple[str, ...] = (r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?",)
    request_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """The edge's own certificate, and the root that it trusts upstream."""

    chain_pem: bytes
    key_pem: bytes
    ca_pem: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the world.

    Attributes:
        canary_percent: service -> percent of its calls that go to the canary; absent is 0.
        revoked: ids of tokens that are revoked and would still be valid otherwise.
    """

    contract: Contract
    edge: EdgeSettings
    credentials: Credentials
    endpoints: tuple[Endpoint, ...] = ()
    canary_percent: tuple[tuple[str, int], ...] = ()
    revoked: tuple[str, ...] = ()

    def canary_share(self, service: str) -> int:
        """Percent of a service's calls for its canary; 0 while it has no canary."""
        has_canary = any(e.service == service and e.version == CANARY for e in self.endpoints)
        return dict(self.canary_percent).get(service, 0) if has_canary else 0
