"""The platform's Python processes, as the supervisor starts them."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mesh.stack import overrides, probes
from mesh.stack.catalogue import BY_NAME, Kind, Workload
from mesh.stack.environment import Environment
from mesh.stack.ports import LOOPBACK
from mesh.stack.servers.server import Launch, Listed

STABLE, CANARY = "stable", "canary"


@dataclass(frozen=True, kw_only=True)
class PythonProcess:
    """One running version of a workload.

    Attributes:
        workload: who it is in the mesh.
        environment: makes its environment, and says where its code lies.
        name: its process name.
        listen: port of its gRPC listener.
        metrics: port of its metrics listener, which also answers `/readyz`.
        version: `stable` or `canary`.
        extra: settings added to its environment.
    """

    workload: Workload
    environment: Environment
    name: str
    listen: int
    metrics: int
    version: str = STABLE
    extra: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    leave_signal: signal.Signals = signal.SIGUSR1

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.workload.kind

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be ready before it."""
        return self.workload.stands_on

    @property
    def address(self) -> str:
        """Its gRPC listener."""
        return f"{LOOPBACK}:{self.listen}"

    @property
    def ports(self) -> Mapping[str, int]:
        """The gRPC listener and the metrics listener."""
        return {self.name: self.listen, f"{self.name}-metrics": self.metrics}

    @property
    def listed(self) -> Listed:
        """What the control plane is told of it."""
        changed = overrides.read(self.environment.settings.home.overrides, self.name)
        return Listed(
            process=self.name,
            service=self.workload.name,
            version=self.version,
            address=changed.get(overrides.ADVERTISE, self.address),
            metrics_address=f"{LOOPBACK}:{self.metrics}",
        )

    def twin(self) -> PythonProcess:
        """Describe its successor: the same at the workload's other pair of ports."""
        ports, name = self.environment.settings.ports, self.workload.name
        own = (ports.of(name), ports.metrics(name))
        other = ports.successor_pair(list(BY_NAME).index(name))
        listen, metrics = other if self.listen == own[0] else own
        return replace(self, listen=listen, metrics=metrics)

    async def retire(self) -> None:
        """Need nothing: its callers are told by the file of peers, the edge by the control plane."""

    async def prepare(self) -> None:
        """Need nothing: certificates, roles and topics are steps of their own."""

    def launch(self) -> Launch:
        """Start the workload's module."""
        home = self.environment.settings.home
        environment = self.environment.of_workload(
            self.workload,
            process=self.name,
            listen=self.listen,
            metrics=self.metrics,
            version=self.version,
        )
        return Launch(
            argv=(str(home.python), "-m", self.workload.module),
            directory=home.root,
            environment=environment | dict(self.extra),
        )

    async def ready(self) -> bool:
        """Tell whether it says so itself."""
        return await probes.http(self.metrics, "/readyz")
