"""The local vector server (`mesh.stack.vectors`): Qdrant's gRPC protocol over Qdrant's engine."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from mesh.stack import probes
from mesh.stack.catalogue import Kind
from mesh.stack.environment import QDRANT_KEY, Environment
from mesh.stack.home import Home
from mesh.stack.ports import LOOPBACK, Ports
from mesh.stack.servers.server import Launch


class Vectors:
    """The vector server of one stack."""

    name = "vectors"
    kind = Kind.SERVER
    needs: tuple[str, ...] = ()
    stop_signal = signal.SIGTERM

    def __init__(self, home: Home, ports: Ports, environment: Environment) -> None:
        """Take home, ports and what every Python process is given; touch nothing yet."""
        self._home = home
        self._port = ports.of(self.name)
        self._environment = environment

    @property
    def address(self) -> str:
        """Where its clients reach it."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Its one listener."""
        return {self.name: self._port}

    async def prepare(self) -> None:
        """Make its data folder."""
        self._home.data(self.name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def launch(self) -> Launch:
        """Start the module on its data folder."""
        return Launch(
            argv=(
                *(str(self._home.python), "-m", "mesh.stack.vectors"),
                *("--listen", self.address, "--data", str(self._home.data(self.name))),
            ),
            directory=self._home.root,
            environment=self._environment.of_python() | {QDRANT_KEY: self._environment.qdrant_key()},
        )

    async def ready(self) -> bool:
        """Tell whether it listens, which it does only once all collections are open."""
        return await probes.tcp(self._port)
