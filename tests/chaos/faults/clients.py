"""Clients that behave badly: they read a byte a second, or open and walk away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import uuid
from collections.abc import AsyncIterator

import aiohttp

from mesh.stack.ports import LOOPBACK
from tests.chaos.fault import Fault
from tests.support.edge import LONG, Edge
from tests.support.stack import Stack

SLOW_READERS = 8
ABANDONED = 24
SECONDS = 8.0
SMALLEST_BUFFER = 1024
SESSION_SECONDS = 20.0


class Reader:
    """A client with the smallest receive buffer there is, which has asked for a stream of events."""

    def __init__(self, ends: socket.socket) -> None:
        """Take a connection that has asked."""
        self._ends = ends
        self.read = 0

    @classmethod
    async def asking(cls, stack: Stack, path: str, body: bytes) -> Reader:
        """Connect to the edge and ask."""
        ends = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        ends.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER)
        ends.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(ends, (LOOPBACK, stack.settings.ports.of("edge-http")))
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {stack.api_key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        await loop.sock_sendall(ends, head.encode("ascii") + body)
        return cls(ends)

    async def drip(self, *, every: float = 1.0) -> None:
        """Read a byte, wait, read the next, until the stream ends."""
        while piece := await asyncio.get_running_loop().sock_recv(self._ends, 1):
            self.read += len(piece)
            await asyncio.sleep(every)

    def leave(self) -> None:
        """Walk away without a word."""
        self._ends.close()


async def ask_for_turn(stack: Stack, edge: Edge) -> Reader:
    """Ask for a streamed turn in a session of its own."""
    async with asyncio.timeout(SESSION_SECONDS):
        session = await edge.session("bootstrap")
    options = {"max_tokens": 64, "recall": False}
    body = {"input": {"text": LONG}, "request_id": uuid.uuid4().hex, "options": options}
    return await Reader.asking(stack, f"/v1/sessions/{session}/turns:stream", json.dumps(body).encode())


@contextlib.asynccontextmanager
async def slow_readers(stack: Stack, count: int) -> AsyncIterator[list[Reader]]:
    """Clients that read a byte a second until the block ends."""
    async with aiohttp.ClientSession() as http:
        edge = Edge(http, url=stack.edge_url, key=stack.api_key)
        readers: list[Reader] = []
        dripping: list[asyncio.Task[None]] = []
        try:
            for _ in range(count):
                readers.append(await ask_for_turn(stack, edge))
                dripping.append(asyncio.create_task(readers[-1].drip(), name="slow reader"))
            yield readers
        finally:
            for task in dripping:
                task.cancel()
            await asyncio.gather(*dripping, return_exceptions=True)
            for one in readers:
                one.leave()


async def read_slowly(stack: Stack, _choice: random.Random) -> None:
    """Read streams a byte a second for a while."""
    async with slow_readers(stack, SLOW_READERS):
        await asyncio.sleep(SECONDS)


async def abandon(stack: Stack, choice: random.Random) -> None:
    """Open streams, and walk away from each at another moment."""
    async with aiohttp.ClientSession() as http:
        edge = Edge(http, url=stack.edge_url, key=stack.api_key)

        async def one(seconds: float) -> None:
            reader = await ask_for_turn(stack, edge)
            await asyncio.sleep(seconds)
            reader.leave()

        await asyncio.gather(*(one(choice.uniform(0.0, 1.0)) for _ in range(ABANDONED)))


FAULTS: tuple[Fault, ...] = (
    Fault(name="slow readers", inject=read_slowly),
    Fault(name="abandoned streams", inject=abandon),
)
