"""What the supervisor does beside keeping processes: rare, and never in anybody's way.

- Kafka's class-data archives, once, after the first start (`make_archives`).
- Kafka reads its certificate once at its start: when the control plane has renewed it, the broker
  is told (`watch_certificate`). A leaf lasts 24 hours and is renewed at half of them, so that a
  look once an hour is soon enough.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from mesh.stack import commands
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings

LOOK_SECONDS = 3600.0


class Background:
    """Background work of one stack."""

    def __init__(self, settings: StackSettings, *, look_seconds: float = LOOK_SECONDS) -> None:
        """Start nothing yet."""
        self._home = settings.home
        self._bootstrap = settings.ports.address("kafka")
        self._environment = Environment(settings)
        self._look_seconds = look_seconds
        self._tasks: dict[str, asyncio.Task[object]] = {}

    def make_archives(self) -> None:
        """Make Kafka's archives unless that was begun already."""
        if "archives" not in self._tasks:
            argv = ("nice", "-n", "10", self._python, "-m", "mesh.stack.install.archives")
            self._tasks["archives"] = asyncio.create_task(self._run("archives", *argv), name="archives")

    def watch_certificate(self) -> None:
        """Begin to look after Kafka's certificate."""
        if "certificate" not in self._tasks:
            self._tasks["certificate"] = asyncio.create_task(self._watch(), name="kafka certificate")

    async def stop(self) -> None:
        """End all of it."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    @property
    def _python(self) -> str:
        return str(self._home.python)

    async def _run(self, name: str, *argv: str) -> bool:
        environment = self._environment.of_python() | {
            "SOMA_KAFKA_BOOTSTRAP": self._bootstrap,
            "SOMA_PKI_DIR": str(self._home.pki / "supervisor"),
        }
        done = await commands.run(argv, directory=self._home.root, environment=environment)
        if done.code:
            print(f"{name}: {done.error.strip()[-300:]}", flush=True)
        return done.code == 0

    async def _watch(self) -> None:
        store = self._home.pki / "kafka" / "keystore.pem"
        read = _renewed_at(store)
        while True:
            await asyncio.sleep(self._look_seconds)
            now = _renewed_at(store)
            if now == read:
                continue
            if await self._run("certificate", self._python, "-m", "mesh.stack.kafka_reload"):
                read = now


def _renewed_at(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
