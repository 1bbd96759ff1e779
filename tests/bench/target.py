"""The stack that is measured: that of `$SOMA_TEST_HOME`, else of `$SOMA_HOME` and `$SOMA_PORT_BASE`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import asyncpg
from soma.slm.v1 import events_pb2

from mesh.stack.client_file import VARIABLES, ClientFile
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from tests.bench.usage import Watched

READER = "postgres"
_PROMPTS = """
    select key, payload from orchestrator.outbox where topic = 'slm.requests' and key = any($1)
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where it is, and as whom it is called."""

    settings: StackSettings
    client: ClientFile

    @classmethod
    def here(cls) -> Target:
        """Find it.

        Raises:
            SystemExit: it never ran.
        """
        surroundings = dict(os.environ)
        if "SOMA_TEST_HOME" in surroundings:
            surroundings["SOMA_HOME"] = surroundings["SOMA_TEST_HOME"]
            surroundings.pop("SOMA_PORT_BASE", None)
        settings = StackSettings.from_environment(surroundings)
        client = ClientFile.read(settings.home.client)
        if client is None or not client.api_key:
            sys.exit("there is no client.json with a key: run `make up` first")
        for name, variable in VARIABLES.items():
            os.environ[variable] = getattr(client, name)
        return cls(settings=settings, client=client)

    @property
    def triton(self) -> str:
        """The address of Triton's gRPC listener."""
        return self.settings.external.get("triton", self.settings.ports.address("triton"))

    async def watched(self) -> Watched:
        """Give its processes."""
        return await Watched.of(self.settings)

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect as the server's own role, which sees all tenants; reads only."""
        connection = await asyncpg.connect(Environment(self.settings).postgres_url(READER))
        try:
            await connection.execute("set default_transaction_read_only = on")
            yield connection
        finally:
            await connection.close()

    async def prompts(
        self, turns: Sequence[str], *, seconds: float = 10.0
    ) -> Mapping[str, events_pb2.GenerationRequest]:
        """Give what the orchestrator asked the model for each of these turns, from its outbox."""
        async with self.database() as connection:
            for _ in range(int(seconds / 0.2)):
                rows = await connection.fetch(_PROMPTS, list(turns))
                if len(rows) == len(turns):
                    return {
                        row["key"]: events_pb2.GenerationRequest.FromString(row["payload"]) for row in rows
                    }
                await asyncio.sleep(0.2)
        raise RuntimeError(f"the outbox holds requests of {len(rows)} of {len(turns)} turns")
