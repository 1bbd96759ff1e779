"""Many connections: those that ask nothing cost little and keep nobody out.

`SOMA_CONNECTIONS=10000` opens more of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from urllib.parse import urlsplit

import pytest

from tests.attacks.steadiness import Steadiness
from tests.support.edge import Edge
from tests.support.stack import Stack

CONNECTIONS = int(os.environ.get("SOMA_CONNECTIONS", "500"))
EACH = 64 * 1024
"""Bytes of memory that one may cost the edge."""
FIRST_BYTES = (
    b"",
    b"GET /healthz HTTP/1.1\r\nhost: edge\r\n\r\n",
    b"GET / HT",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


async def _connect(stack: Stack, number: int) -> asyncio.StreamWriter:
    parts = urlsplit(stack.edge_url if number % 8 else stack.tls_url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(FIRST_BYTES[number % len(FIRST_BYTES)])
    return writer


@pytest.mark.timeout(600)
async def test_connections_that_ask_nothing_keep_nobody_out(stack: Stack, edge: Edge) -> None:
    before = await Steadiness.of(stack)
    held: list[asyncio.StreamWriter] = []
    try:
        for start in range(0, CONNECTIONS, 100):
            numbers = range(start, min(start + 100, CONNECTIONS))
            held += await asyncio.gather(*(_connect(stack, number) for number in numbers))
            assert (await edge.get("/v1/sessions?page_size=1")).status == 200
        await before.check(growth=max(CONNECTIONS * EACH, 128 * 1024 * 1024))
    finally:
        for writer in held:
            writer.close()
        for writer in held:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    assert (await edge.get("/v1/sessions?page_size=1")).status == 200
