"""A vector server for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from qdrant_client import AsyncQdrantClient

from tests.integration.vectors.server import KEY, Server, client_of


@pytest.fixture
async def server(tmp_path: object) -> AsyncIterator[Server]:
    """A server of the test's own, that it may kill."""
    from pathlib import Path

    own = Server(data=Path(str(tmp_path)) / "vectors")
    await own.start()
    yield own
    await own.stop()


ADDRESSES = ["local", *([os.environ["SOMA_TEST_QDRANT_URL"]] if "SOMA_TEST_QDRANT_URL" in os.environ else [])]


@pytest.fixture(scope="module", params=ADDRESSES)
async def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncQdrantClient]:
    """Qdrant's client on the local server, and on a real Qdrant where the environment names one."""
    if request.param == "local":
        own = Server(data=tmp_path_factory.mktemp("shared") / "vectors")
        await own.start()
        async with own.client(KEY) as found:
            yield found
        assert await own.stop() == 0
    else:
        async with client_of(request.param, os.environ.get("SOMA_TEST_QDRANT_API_KEY", "")) as found:
            yield found
