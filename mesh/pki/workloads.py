"""Every workload of the mesh and the names that its certificate carries."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from mesh.pki.errors import UnknownWorkloadError

TRUST_DOMAIN = "soma"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One identity: its SPIFFE id, and the names by which a TLS client may check it.

    Attributes:
        name: the workload's name; the certificate's common name, which Kafka takes as principal.
        names: further DNS names, for servers that clients reach without a name override.
        addresses: IP addresses, for the same reason.
        keystore: whether a program needs key and chain in one PEM file (Kafka's broker does).
    """

    name: str
    names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    keystore: bool = False

    @property
    def spiffe_id(self) -> str:
        """The identity that a server reads from a caller's certificate."""
        return spiffe_id(self.name)

    @property
    def server_name(self) -> str:
        """The DNS name by which a client proves which workload answered (grpc.aio checks names)."""
        return f"{self.name}.{TRUST_DOMAIN}"


def spiffe_id(name: str) -> str:
    """Give the SPIFFE id of a workload's name."""
    return f"spiffe://{TRUST_DOMAIN}/{name}"


def workload_of(spiffe: str) -> str | None:
    """Give the workload's name in a SPIFFE id of this trust domain, else None."""
    prefix = f"spiffe://{TRUST_DOMAIN}/"
    name = spiffe.removeprefix(prefix)
    return name if spiffe.startswith(prefix) and name and "/" not in name else None


_LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))

WORKLOADS: tuple[Workload, ...] = (
    Workload(name="edge", names=("localhost",), addresses=_LOOPBACK),
    *(
        Workload(name=name)
        for name in (
            "gateway",
            "identity",
            "policy",
            "orchestrator",
            "memory",
            "slm",
            "audit",
            "worker-slm",
            "worker-outbox",
            "worker-projections",
        )
    ),
    Workload(name="xds", names=("localhost",), addresses=_LOOPBACK),
    Workload(name="operator"),
    Workload(name="supervisor"),
    Workload(name="kafka", names=("localhost",), addresses=_LOOPBACK, keystore=True),
)

BY_NAME = {workload.name: workload for workload in WORKLOADS}


def workload(name: str) -> Workload:
    """Find a workload by name.

    Raises:
        UnknownWorkloadError: there is none of that name.
    """
    try:
        return BY_NAME[name]
    except KeyError:
        raise UnknownWorkloadError(name) from None
