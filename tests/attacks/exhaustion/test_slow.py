"""Clients that take their time: each is shown the door, however little it sends and however steadily."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hyperframe.frame import DataFrame

from tests.attacks.exhaustion.wire import Wire, connected
from tests.support.edge import Edge
from tests.support.real_edge import RealEdge
from tests.support.stack import Stack

SECONDS = 60.0
PAUSE = 0.5


async def _trickle(url: str, begin: bytes, more: Callable[[], bytes]) -> bytes:
    """Send a beginning, then a little more again and again; give what the server said before it hung up."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(begin)
            while True:
                await asyncio.sleep(PAUSE)
                writer.write(more())
                await writer.drain()

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        sending.cancel()
        writer.close()


def _hello() -> bytes:
    """The first message of a TLS client."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def test_whoever_does_not_finish_to_ask_is_let_go(stack: Stack, edge: Edge) -> None:
    numbers = itertools.count()
    hello = iter(_hello()[:-1])
    trickles = {
        "a header now and then": (stack.edge_url, b"GET / HTTP/1.1\r\nhost: x\r\n",
                                  lambda: b"x-%d: y\r\n" % next(numbers)),
        "a byte of a header": (stack.edge_url, b"GET / HTTP/1.1\r\nhost: ", lambda: b"x"),
        "TLS without a word": (stack.tls_url, b"", lambda: b""),
        "a byte of a TLS greeting": (stack.tls_url, b"", lambda: bytes([next(hello)])),
    }  # fmt: skip
    async with asyncio.TaskGroup() as group:
        for url, begin, more in trickles.values():
            for _ in range(3 if url == stack.edge_url else 1):
                group.create_task(_trickle(url, begin, more))
        assert (await edge.get("/v1/sessions?page_size=1")).status == 200


async def test_a_stream_whose_headers_do_not_end_is_ended(stack: Stack, edge: Edge) -> None:
    """The connection stays, as it may carry other streams; an idle one ends later."""
    async with connected(stack.edge_url) as wire, asyncio.timeout(SECONDS):
        opened = wire.headers("/healthz")
        opened.flags.discard("END_HEADERS")
        await wire.send([opened])
        while not wire.frames and not wire.closed.is_set():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(PAUSE)
    assert (await edge.get("/v1/sessions?page_size=1")).status == 200


@pytest.fixture
async def hurried(tmp_path: Path) -> RealEdge:
    """An edge that waits two seconds for a request."""
    made = RealEdge(tmp_path, environment={"SOMA_EDGE_REQUEST_SECONDS": "2"})
    made.prepare()
    made.start_control_plane()
    made.start_envoy()
    return made


async def _data(wire: Wire) -> None:
    opened = wire.headers("/v1/tokens", verb="POST", end=False)
    await wire.send([opened])
    while not wire.closed.is_set() and not wire.frames:
        await wire.send([DataFrame(opened.stream_id, data=b" ")])
        await asyncio.sleep(PAUSE / 2)


async def test_a_body_that_trickles_in_is_not_waited_for(hurried: RealEdge) -> None:
    try:
        await hurried.until("/v1/nosuch", 401, seconds=120)
        begin = b"POST /v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        said = await _trickle(hurried.url, begin + b"content-length: 1000\r\n\r\n", lambda: b" ")
        # What is still being sent may reset the connection before the answer was read.
        assert not said or b"DEADLINE_EXCEEDED" in said, said
        async with connected(hurried.url) as wire, asyncio.timeout(SECONDS):
            await _data(wire)
    finally:
        hurried.stop()
