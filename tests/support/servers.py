"""Postgres, Redis and Kafka for tests of storage and events, under a supervisor of their own.

They may be killed: nobody else uses them. `SOMA_TEST_SERVERS` names the SOMA_HOME of servers that run
already and are to be used instead.
"""

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from mesh.stack.databases import schema_statements
from mesh.stack.environment import Environment
from mesh.stack.home import Home
from mesh.stack.settings import StackSettings
from tests.support.stack import ProcessRow, soma

PORT_BASE = "25400"
SERVERS = "postgres,redis,kafka"


@dataclass(frozen=True, slots=True)
class Servers:
    """The running servers, and how each workload reaches them."""

    settings: StackSettings

    @property
    def environment(self) -> Environment:
        return Environment(self.settings)

    @property
    def pki(self) -> Path:
        return self.settings.home.pki

    @property
    def kafka(self) -> str:
        return self.settings.ports.address("kafka")

    def postgres(self, role: str, database: str = "soma") -> str:
        """The database's address for a role."""
        url = self.environment.postgres_url(role)
        return f"{url.rpartition('/')[0]}/{database}"

    async def new_database(self, name: str, *, schema: str) -> None:
        """Make an empty database with one service's schema, as the launcher makes them."""
        superuser = await asyncpg.connect(self.postgres("postgres", "postgres"))
        try:
            await superuser.execute(f"drop database if exists {name} with (force)")
            await superuser.execute(f"create database {name} owner soma_owner")
        finally:
            await superuser.close()
        superuser = await asyncpg.connect(self.postgres("postgres", name))
        try:
            for statement in schema_statements(schema):
                await superuser.execute(statement)
        finally:
            await superuser.close()

    async def process(self, name: str) -> ProcessRow:
        """One server as `soma status` shows it."""
        rows = json.loads(await soma(self.settings, "status", "-o", "json"))
        row = next(row for row in rows if row["name"] == name)
        return ProcessRow(**{key: row[key] for key in ProcessRow.__dataclass_fields__})

    async def kill(self, name: str) -> None:
        """Kill -9 a server; its supervisor starts it again."""
        row = await self.process(name)
        assert row.pid is not None
        os.kill(row.pid, signal.SIGKILL)

    async def ready(self, name: str, seconds: float = 40.0) -> None:
        """Wait until a server is ready again."""
        async with asyncio.timeout(seconds):
            while (await self.process(name)).state != "ready":  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.1)


async def start(folder: Path) -> tuple[Servers, bool]:
    """Start the servers, or attach to given ones; say whether they are ours to stop."""
    given = os.environ.get("SOMA_TEST_SERVERS")
    environment = dict(os.environ)
    for name in ("SOMA_PORT_BASE", "SOMA_HOME"):
        environment.pop(name, None)
    if given:
        environment["SOMA_HOME"] = given
        settings = StackSettings.from_environment(environment)
        return Servers(settings), False
    lib = Home.from_environment(os.environ).lib
    environment |= {"SOMA_HOME": str(folder), "SOMA_LIB": str(lib), "SOMA_PORT_BASE": PORT_BASE}
    settings = StackSettings.from_environment(environment)
    await soma(settings, "up", "--only", SERVERS)
    return Servers(settings), True


async def stop(servers: Servers) -> None:
    """Stop what `start` started."""
    await soma(servers.settings, "down")
