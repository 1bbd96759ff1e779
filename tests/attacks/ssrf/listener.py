"""A real server on every loopback address that counts who comes; an attack that works is seen here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.support.ports import free_port


@dataclass
class Listener:
    """What came to a port."""

    port: int
    seen: list[bytes] = field(default_factory=list)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Note a connection and the first bytes of it, and answer with something that looks like success."""
        self.seen.append(b"")
        index = len(self.seen) - 1
        self.seen[index] = await reader.read(4096)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """Listen on a free port of IPv4 and IPv6 loopback."""
    made = Listener(free_port())
    async with contextlib.AsyncExitStack() as stack:
        for host in ("127.0.0.1", "::1"):
            await stack.enter_async_context(await asyncio.start_server(made.take, host, made.port))
        yield made
