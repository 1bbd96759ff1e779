"""The start graph of a stack: processes and steps, and what each of them waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mesh.stack.catalogue import SERVERS, WORKLOADS
from mesh.stack.environment import Environment
from mesh.stack.errors import Code, StackError
from mesh.stack.servers.envoy import Envoy
from mesh.stack.servers.kafka import Kafka
from mesh.stack.servers.postgres import Postgres
from mesh.stack.servers.redis import Redis
from mesh.stack.servers.server import Runnable
from mesh.stack.servers.temporal import Temporal
from mesh.stack.servers.triton import Triton
from mesh.stack.servers.vectors import Vectors
from mesh.stack.settings import StackSettings
from mesh.stack.steps import Step, steps
from mesh.stack.workloads import PythonProcess

SETTLED_BY: Mapping[str, tuple[str, ...]] = {
    "postgres": ("databases", "migrations"),
    "kafka": ("topics",),
}
# What takes the place of a server that runs elsewhere.
IN_PLACE_OF: Mapping[str, str] = {"redis": "redis-users"}
USERS = frozenset({"envoy", "temporal", *(one.name for one in WORKLOADS if one.name != "xds")})
STOP_ORDER: tuple[frozenset[str], ...] = (USERS, frozenset({*SERVERS, "xds"}) - USERS)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one stack can start.

    Attributes:
        processes: by name; external servers are left out.
        steps: by name.
        external: servers that run elsewhere.
    """

    processes: Mapping[str, Runnable]
    steps: Mapping[str, Step]
    external: frozenset[str]

    def chosen(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Give what must be reached for the named processes, each with what it waits for.

        Raises:
            StackError: there is no process of that name.
        """
        graph: dict[str, tuple[str, ...]] = {}
        open_names = list(names)
        while open_names:
            name = open_names.pop()
            if name in self.external:
                open_names += [IN_PLACE_OF[name]] if name in IN_PLACE_OF else []
                continue
            if name in graph:
                continue
            needs = (IN_PLACE_OF.get(one, one) if one in self.external else one for one in self._needs(name))
            graph[name] = tuple(one for one in needs if one not in self.external)
            open_names += graph[name]
            open_names += [one for one in SETTLED_BY.get(name, ()) if self.steps[one].exists]
        return graph

    def processes_for(self, names: Iterable[str]) -> frozenset[str]:
        """Give the processes that must run for the named ones."""
        return frozenset(self.chosen(names)) & frozenset(self.processes)

    def _needs(self, name: str) -> tuple[str, ...]:
        if name in self.processes:
            return self.processes[name].needs
        if name in self.steps:
            return self.steps[name].needs
        raise unknown(name, self.processes)


def unknown(name: str, processes: Iterable[str]) -> StackError:
    """Give the error for a name that no process has."""
    return StackError(
        f"there is no process {name!r}",
        fix=f"name one of {', '.join(processes)}",
        code=Code.UNKNOWN_PROCESS,
    )


def plan_of(settings: StackSettings) -> Plan:
    """Draw up the plan of a stack from its settings."""
    environment = Environment(settings)
    home, ports = settings.home, settings.ports
    servers: tuple[Runnable, ...] = (
        Postgres(home, ports),
        Redis(home, ports),
        Kafka(home, ports),
        Temporal(home, ports),
        Triton(home, ports),
        Vectors(home, ports, environment),
        Envoy(home, ports, environment),
    )
    python = tuple(
        PythonProcess(
            workload=one,
            environment=environment,
            name=one.name,
            listen=ports.of(one.name),
            metrics=ports.metrics(one.name),
        )
        for one in WORKLOADS
    )
    external = frozenset(settings.external)
    return Plan(
        processes={one.name: one for one in (*servers, *python) if one.name not in external},
        steps={one.name: one for one in steps(environment)},
        external=external,
    )
