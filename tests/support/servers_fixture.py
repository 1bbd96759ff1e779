"""The fixture `servers`: one for the whole session, since its ports are fixed."""

from collections.abc import AsyncIterator

import pytest

from tests.support.servers import Servers, start, stop


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Servers that only these tests use, and may kill."""
    running, ours = await start(tmp_path_factory.mktemp("servers"))
    yield running
    if ours:
        await stop(running)
