"""Temporal's own single-binary server on SQLite (its development mode knows no Postgres)."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from mesh.stack import locate, probes
from mesh.stack.catalogue import Kind
from mesh.stack.home import Home
from mesh.stack.ports import LOOPBACK, Ports
from mesh.stack.servers.server import Launch

FRONTEND = "temporal.api.workflowservice.v1.WorkflowService"
NAMESPACE = "soma"
LISTENERS = ("temporal", "temporal-ui", "temporal-http", "temporal-metrics")


class Temporal:
    """The Temporal server of one stack."""

    name = "temporal"
    kind = Kind.SERVER
    needs: tuple[str, ...] = ()
    stop_signal = signal.SIGTERM

    def __init__(self, home: Home, ports: Ports) -> None:
        """Take home and ports; touch nothing yet."""
        self._home = home
        self._listeners = {name: ports.of(name) for name in LISTENERS}
        self._folder = home.data(self.name)

    @property
    def address(self) -> str:
        """Where its clients reach it."""
        return f"{LOOPBACK}:{self._listeners['temporal']}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Frontend, UI, HTTP API and metrics."""
        return self._listeners

    @property
    def _program(self) -> Path:
        return locate.program(locate.TEMPORAL, self._home.venv / "bin" / "temporal")

    async def prepare(self) -> None:
        """Make its folder, which is its HOME too."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def launch(self) -> Launch:
        """Start with the namespace and the search attribute that workflows use."""
        ports = {name: str(port) for name, port in self._listeners.items()}
        return Launch(
            argv=(
                *(str(self._program), "server", "start-dev", "--ip", LOOPBACK),
                *("--port", ports["temporal"], "--ui-port", ports["temporal-ui"]),
                *("--http-port", ports["temporal-http"]),
                *("--metrics-port", ports["temporal-metrics"]),
                *("--db-filename", str(self._folder / "temporal.db"), "--log-level", "warn"),
                *("--namespace", NAMESPACE, "--search-attribute", "Tenant=Keyword"),
                "--ui-disable-news-fetch",
            ),
            directory=self._folder,
            environment={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(self._folder)},
        )

    async def ready(self) -> bool:
        """Tell whether the frontend serves."""
        return await probes.grpc_health(self._listeners["temporal"], FRONTEND)
