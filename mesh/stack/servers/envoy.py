"""The edge's Envoy: its bootstrap is a file, everything else comes from the control plane."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from mesh.stack import commands, locate, probes
from mesh.stack.catalogue import Kind
from mesh.stack.environment import Environment
from mesh.stack.errors import Code, failure
from mesh.stack.home import Home, site_packages, write_atomically
from mesh.stack.ports import LOOPBACK, Ports
from mesh.stack.servers.server import Launch

EDGE = ("edge-http", "edge-tls")
ADMIN, ADMIN_NEXT = "envoy-admin", "envoy-admin-next"
LEAVE_SECONDS = 30.0
QUIET_SECONDS = 2.0
LOOK_SECONDS = 0.2
RUNNING, ALL = ".downstream_rq_active", ".downstream_rq_total"
STATS = "/stats?filter=" + quote(rf"^http\.edge_.*({RUNNING}|{ALL})$")


class Envoy:
    """The edge proxy of one stack."""

    name = "envoy"
    kind = Kind.SERVER
    needs: tuple[str, ...] = ("pki",)
    stop_signal = signal.SIGTERM
    leave_signal = signal.SIGTERM

    def __init__(self, home: Home, ports: Ports, environment: Environment, *, admin: str = ADMIN) -> None:
        """Take home, ports and what every Python process is given; touch nothing yet.

        Two Envoys share the ports of the edge for a while; their ports of administration differ.
        """
        self._home = home
        self._all_ports = ports
        self._admin = admin
        self._listeners = {name: ports.of(name) for name in (*EDGE, admin)}
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
        return self._folder / ("bootstrap.yaml" if self._admin == ADMIN else "bootstrap-next.yaml")

    def twin(self) -> Envoy:
        """Describe its successor."""
        admin = ADMIN_NEXT if self._admin == ADMIN else ADMIN
        return Envoy(self._home, self._all_ports, self._environment, admin=admin)

    async def retire(self) -> None:
        """Close the listeners; return when no call runs and none has come for a while."""
        port = self._listeners[self._admin]
        await probes.http_text(port, "/drain_listeners?graceful", method="POST")
        begun = quiet_since = time.monotonic()
        before = 0
        while (now := time.monotonic()) - begun < LEAVE_SECONDS and now - quiet_since < QUIET_SECONDS:
            running, calls = await self._calls(port)
            if running or calls != before:
                before, quiet_since = calls, now
            await asyncio.sleep(LOOK_SECONDS)

    async def _calls(self, port: int) -> tuple[int, int]:
        """Give how many calls run, and how many came so far."""
        running = calls = 0
        for line in (await probes.http_text(port, STATS)).splitlines():
            name, _, value = line.partition(": ")
            if name.endswith(RUNNING):
                running += int(value)
            elif name.endswith(ALL):
                calls += int(value)
        return running, calls

    async def prepare(self) -> None:
        """Write the bootstrap, which says where the control plane is and how to prove it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = await commands.run(
            (
                *(str(self._home.python), "-m", "mesh.envoy.bootstrap"),
                *("--home", str(self._home.root), "--xds-port", str(self._xds)),
                *("--admin-port", str(self._listeners[self._admin])),
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
        admin, edge = self._listeners[self._admin], self._listeners["edge-http"]
        return await probes.http(admin, "/ready") and await probes.tcp(edge)
