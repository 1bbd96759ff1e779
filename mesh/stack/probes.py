"""Cheap readiness probes: a few bytes over a socket, no client library.

Each gives True when the server answers as one that is ready, False for anything else, within
`TIMEOUT`. The frames are from the servers' own protocol documents.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable

from mesh.stack.ports import LOOPBACK

TIMEOUT = 1.0

Exchange = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


async def talk(port: int, exchange: Exchange, *, tls: ssl.SSLContext | None = None) -> bool:
    """Connect and run one exchange; a refused, broken or late one is False."""
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=tls)
            try:
                return await exchange(reader, writer)
            finally:
                writer.close()
    except (OSError, TimeoutError, EOFError):
        return False


async def tcp(port: int) -> bool:
    """Tell whether something accepts connections."""

    async def exchange(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> bool:
        return True

    return await talk(port, exchange)


async def http(port: int, path: str) -> bool:
    """Tell whether `GET path` is answered with 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(request.encode("ascii"))
        return is_http_ok(await reader.readline())

    return await talk(port, exchange)


async def http_text(port: int, path: str, *, method: str = "GET") -> str:
    """Give the body that a call is answered with; empty where nobody answers with 200."""
    request = f"{method} {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
    body = b""

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal body
        writer.write(request.encode("ascii"))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return is_http_ok(head)

    return body.decode("utf-8", errors="replace") if await talk(port, exchange) else ""


def is_http_ok(status_line: bytes) -> bool:
    """Read an HTTP status line."""
    parts = status_line.split(maxsplit=2)
    return len(parts) >= 2 and parts[0].startswith(b"HTTP/") and parts[1] == b"200"


async def postgres(port: int) -> bool:
    """Tell whether Postgres is past recovery: it then asks for a password, else it says 57P03."""
    body = b"user\0postgres\0database\0postgres\0\0"
    packet = struct.pack(">ii", len(body) + 8, 196608) + body

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(packet)
        return await reader.readexactly(1) == b"R"

    return await talk(port, exchange)


async def redis(port: int, user: str, password: str) -> bool:
    """Tell whether Redis has loaded its data (while it loads, PING is answered with -LOADING)."""

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(f"AUTH {user} {password}\r\nPING\r\n".encode("ascii"))
        return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"

    return await talk(port, exchange)


HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, HEADERS, DATA, RST_STREAM, GOAWAY = 4, 1, 0, 3, 7
SERVING = b"\x08\x01"


def http2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Lay out an HTTP/2 frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def health_request(service: str) -> bytes:
    """Lay out a whole `grpc.health.v1.Health/Check` call, with literal headers (RFC 7541, 6.2.2)."""

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value

    name = service.encode("ascii")
    message = b"\x0a" + bytes((len(name),)) + name if name else b""
    headers = b"\x83\x86" + b"".join(
        literal(key, value)
        for key, value in (
            (b":path", b"/grpc.health.v1.Health/Check"),
            (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        )
    )
    body = b"\0" + struct.pack(">I", len(message)) + message
    return (
        HTTP2_PREFACE
        + http2_frame(SETTINGS, 0, 0, b"")
        + http2_frame(HEADERS, 4, 1, headers)
        + http2_frame(DATA, 1, 1, body)
    )


async def grpc_health(port: int, service: str = "") -> bool:
    """Tell whether a plaintext gRPC server's health service says SERVING."""

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(health_request(service))
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == DATA:
                return payload[5:] == SERVING
            if head[3] in (RST_STREAM, GOAWAY):
                return False

    return await talk(port, exchange)


async def kafka(port: int, tls: ssl.SSLContext) -> bool:
    """Tell whether a broker answers ApiVersions (v0, so that any broker knows it)."""
    body = struct.pack(">hhih", 18, 0, 7, -1)

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(struct.pack(">i", len(body)) + body)
        return len(await reader.readexactly(4)) == 4

    return await talk(port, exchange, tls=tls)
