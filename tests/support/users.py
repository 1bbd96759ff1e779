"""Users of the shared stack as tests see them: the first one, and owners of fresh tenants."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.edge import Edge
from tests.support.stack import Stack


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """One HTTP client for all tests."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture(scope="session")
async def edge(stack: Stack, http: aiohttp.ClientSession) -> Edge:
    """The first user of the stack, whose tenant holds the project's documents."""
    return Edge(http, url=stack.edge_url, key=stack.api_key)


@pytest.fixture
async def stranger(stack: Stack, http: aiohttp.ClientSession) -> Edge:
    """The owner of a fresh tenant."""
    return Edge(http, url=stack.edge_url, key=(await stack.new_tenant()).api_key)
