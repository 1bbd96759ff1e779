"""`/healthz`, `/readyz` and `/metrics` over plain HTTP on the loopback address.

Written on asyncio streams: three fixed pages need no web framework, no thread
and no second event loop. It answers GET, closes each connection, and reads at
most 8 KB of a request.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from mesh.runtime.health import Health

_READ_SECONDS: Final = 2.0
_LONGEST_REQUEST: Final = 8192
Page = tuple[int, str, bytes]
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Unavailable"}


class ProbeServer:
    """The HTTP side of a process."""

    def __init__(self, *, health: Health, registry: CollectorRegistry) -> None:
        self._health = health
        self._registry = registry
        self._server: asyncio.Server | None = None
        self._pages: dict[str, Callable[[], Page]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }

    async def start(self, address: str) -> None:
        """Listen on host:port."""
        host, _, port = address.rpartition(":")
        self._server = await asyncio.start_server(self._serve, host, int(port), limit=_LONGEST_REQUEST)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = self._page(head)
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode("ascii")
                    + body
                )
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            return  # a client that does not speak HTTP, or went away
        except asyncio.LimitOverrunError:
            return
        finally:
            writer.close()

    def _page(self, head: bytes) -> Page:
        method, target, _version = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        page = self._pages.get(target.partition("?")[0])
        if page is None:
            return 404, "text/plain", b"not found\n"
        if method != "GET":
            return 405, "text/plain", b"GET only\n"
        return page()

    def _healthz(self) -> Page:
        return 200, "text/plain", b"ok\n"

    def _readyz(self) -> Page:
        body = json.dumps({"ready": self._health.ready, "waiting_for": self._health.explain()})
        return (200 if self._health.ready else 503), "application/json", body.encode() + b"\n"

    def _metrics(self) -> Page:
        return 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
