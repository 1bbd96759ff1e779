"""Certificates for the processes of these tests, and channels of any workload to them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.pki.folder import PkiFolder
from mesh.runtime.certificates import Certificates
from mesh.runtime.channels import MeshChannel
from tests.support.echo.serving import Served, pb_grpc, serving

StubTo = Callable[..., Any]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real certificates."""
    folder = tmp_path_factory.mktemp("pki")
    PkiFolder(folder).initialise()
    return folder


@pytest.fixture(scope="module")
async def served(pki: Path) -> AsyncIterator[Served]:
    """A process that serves echo as the workload `memory`."""
    async with serving(pki) as running:
        yield running


@pytest.fixture
async def stub_to(pki: Path) -> AsyncIterator[StubTo]:
    """Makes stubs: `stub_to(served, caller="gateway")`."""
    channels: list[MeshChannel] = []

    def make(served: Served, caller: str = "gateway", server: str = "memory") -> Any:
        channel = MeshChannel(
            target=served.target,
            workload=server,
            certificates=Certificates(pki / caller),
            max_message_bytes=1 << 22,
        )
        channels.append(channel)
        return pb_grpc.EchoStub(channel)

    yield make
    for channel in channels:
        await channel.close()
