"""A real Triton of this tier's own, on models built from this checkout."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.stack.home import CHECKOUT, Home
from mesh.stack.ports import Ports
from mesh.stack.servers.triton import Triton
from tests.integration.models.client import Client

BASE = 22200
START_SECONDS = 60.0


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose models were built from this checkout's sources."""
    folder = tmp_path_factory.mktemp("models")
    installed = Home.from_environment(os.environ)
    home = Home(root=folder / "home", lib=folder / "lib")
    home.lib.mkdir()
    home.triton.symlink_to(installed.triton)
    command = [str(home.triton / "bin" / "python"), "-m", "models.build", "--out", str(home.models)]
    subprocess.run(command, cwd=CHECKOUT, check=True, env=_clean_environment(), timeout=120)
    return home


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="session")
async def triton(built: Home) -> AsyncIterator[str]:
    """The gRPC address of a running Triton; its log stands beside its data."""
    server = Triton(built, Ports(BASE))
    assert not await server.ready(), f"another Triton has the ports of this tier: {server.address}"
    await server.prepare()
    launch = server.launch()
    log = Path(launch.directory) / "triton.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *launch.argv, cwd=launch.directory, env=dict(launch.environment), stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await server.ready():
                assert process.returncode is None, log.read_text()[-3000:]
                await asyncio.sleep(0.1)
        yield server.address
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.fixture
async def client(triton: str) -> AsyncIterator[Client]:
    """A client of the running Triton."""
    async with Client.open(triton) as made:
        yield made
