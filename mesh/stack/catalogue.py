"""What the stack consists of: servers, services, workers and the control plane, by name.

One table each; everything else (ports, credentials, environment, start order) is drawn from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What a process is."""

    SERVER = "server"
    SERVICE = "service"
    WORKER = "worker"
    CONTROL = "control-plane"


SERVERS = ("postgres", "redis", "kafka", "temporal", "triton", "envoy", "vectors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Python process of the platform.

    Attributes:
        name: process and workload name, also its Postgres role and its Redis user.
        kind: what it is.
        module: what `python -m` starts.
        stands_on: servers and steps that must be ready before it starts.
        schema: whether it owns a Postgres schema of its name.
        keys: Redis key patterns it may touch beside `<name>:*`.
    """

    name: str
    kind: Kind
    module: str
    stands_on: tuple[str, ...] = ()
    schema: bool = False
    keys: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        """The Postgres role: the name as an SQL identifier."""
        return self.name.replace("-", "_")


def _service(name: str, *stands_on: str, schema: bool = True, keys: tuple[str, ...] = ()) -> Workload:
    return Workload(
        name=name,
        kind=Kind.SERVICE,
        module=f"services.{name}",
        stands_on=("pki", *stands_on),
        schema=schema,
        keys=keys,
    )


def _worker(queue: str, *stands_on: str, keys: tuple[str, ...] = ()) -> Workload:
    return Workload(
        name=f"worker-{queue}",
        kind=Kind.WORKER,
        module=f"workers.{queue}",
        stands_on=("pki", *stands_on),
        keys=keys,
    )


COMPANIONS = ("identity", "policy")
TURN_LOG = ("turn:*", "turns:*", "turnlog:*")

WORKLOADS: tuple[Workload, ...] = (
    Workload(name="xds", kind=Kind.CONTROL, module="mesh.xds", stands_on=("pki",)),
    _service("identity", "migrations", "redis"),
    _service("policy", "migrations"),
    _service("orchestrator", "migrations", "redis", "topics", keys=TURN_LOG),
    _service("memory", "migrations", "vectors", "triton", "topics"),
    _service("slm", "migrations", "triton"),
    _service("gateway", "redis", schema=False),
    _service("audit", "migrations"),
    _worker("slm", "redis", "topics", "triton", keys=TURN_LOG),
    _worker("outbox", "migrations", "topics"),
    _worker("projections", "migrations", "topics"),
)

BY_NAME: Mapping[str, Workload] = MappingProxyType({one.name: one for one in WORKLOADS})

ROLLED: tuple[str, ...] = (*BY_NAME, "envoy")
"""What `soma restart --rolling` replaces, in this order. The control plane is restarted: traffic goes on
without it; the servers that hold data are not touched."""


def with_companions(names: tuple[str, ...]) -> tuple[str, ...]:
    """Add what every service asks while it runs: who sent a token, and what the policy says.

    They are not what a service stands on: all of them start at once, and each is ready when it has heard.
    """
    services = any(name in BY_NAME and BY_NAME[name].kind is Kind.SERVICE for name in names)
    missing = [name for name in COMPANIONS if name not in names] if services else []
    return (*names, *missing)


def kind_of(name: str) -> Kind:
    """Give the kind of a process of the catalogue."""
    return Kind.SERVER if name in SERVERS else BY_NAME[name].kind
