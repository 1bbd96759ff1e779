"""The edge's Envoy: its bootstrap is a file, everything else comes from the control plane."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from mesh.stack import commands, locate, probes
from mesh.stack.catalogue import Kind
from mesh.stack.environment import Environment
from mesh.stack.errors import Code, failure
from mesh.stack.home import Home, site_packages, write_atomically
from mesh.stack.ports import LOOPBACK, Ports
from mesh.stack.servers.server import Launch

LISTENERS = ("edge-http", "edge-tls", "envoy-admin")


class Envoy:
    """The edge proxy of one stack."""

    name = "envoy"
    kind = Kind.SERVER
    needs: tuple[str, ...] = ("pki",)
    stop_signal = signal.SIGTERM

    def __init__(self, home: Home, ports: Ports, environment: Environment) -> None:
        """Take home, ports and what every Python process is given; touch nothing yet."""
        self._home = home
        self._listeners = {name: ports.of(name) for name in LISTENERS}
        self._xds = ports.of("xds")
        self._environment = environment
        self._folder = home.data(self.name)

    @property
    def address(self) -> str:
        """Where clients reach the edge: plain HTTP on loopback."""
        return f"{LOOPBACK}:{self._listeners['edge-http']}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Plain HTTP, TLS and administration."""
        return self._listeners

    @property
    def _program(self) -> Path:
        package = site_packages(self._home.venv) / "envoy" / "_bin" / "envoy"
        return locate.program(locate.ENVOY, package)

    @property
    def _bootstrap(self) -> Path:
        return self._folder / "bootstrap.yaml"

    async def prepare(self) -> None:
        """Write the bootstrap, which says where the control plane is and how to prove it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = await commands.run(
            (
                *(str(self._home.python), "-m", "mesh.envoy.bootstrap"),
                *("--home", str(self._home.root), "--xds-port", str(self._xds)),
                *("--admin-port", str(self._listeners["envoy-admin"])),
            ),
            directory=self._home.root,
            environment=self._environment.of_python(),
        )
        if made.code:
            raise failure(
                "Envoy's bootstrap failed",
                said=made.error,
                fix="run `soma doctor`",
                code=Code.STEP_FAILED,
            )
        write_atomically(self._bootstrap, made.output)

    def launch(self) -> Launch:
        """Start without hot restart, whose shared memory would collide with a second Envoy."""
        return Launch(
            argv=(
                *(str(self._program), "-c", str(self._bootstrap), "--concurrency", "2"),
                *("--disable-hot-restart", "-l", "warn", "--drain-time-s", "2"),
            ),
            directory=self._folder,
            environment={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(self._folder)},
        )

    async def ready(self) -> bool:
        """Tell whether it has its first configuration and its listeners are open."""
        admin, edge = self._listeners["envoy-admin"], self._listeners["edge-http"]
        return await probes.http(admin, "/ready") and await probes.tcp(edge)
