"""HTTP as bytes: what no client library would send, and what came back."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

SECONDS = 15.0
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a connection brought: the status of each answer, and all bytes."""

    statuses: tuple[int, ...]
    raw: bytes

    @property
    def status(self) -> int:
        """The first answer's status; 0 where the connection ended without one."""
        return self.statuses[0] if self.statuses else 0


async def http1(port: int, content: bytes, *, to_the_end: bool = True) -> Heard:
    """Send bytes; read the first answer, or all until the edge closes or is silent for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = b""
    try:
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(content)
            await writer.drain()
            while True:
                part = await asyncio.wait_for(reader.read(65536), 1.0 if raw else SECONDS)
                raw += part
                if not part or (not to_the_end and _whole(raw)):
                    break
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return Heard(tuple(int(found) for found in STATUS.findall(raw)), raw)


def _whole(raw: bytes) -> bool:
    """Whether an answer is there with as much of a body as it announces."""
    head, end, body = raw.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def request(line: str, headers: Iterable[tuple[str, str]] = (), body: str = "") -> bytes:
    """An HTTP/1.1 request as it stands; latin-1, so that any byte can be sent."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{line}\r\nhost: soma\r\n{head}connection: close\r\n\r\n{body}".encode("latin-1")


async def http2(
    port: int, context: ssl.SSLContext, headers: list[tuple[bytes, bytes]], body: bytes = b""
) -> Heard:
    """One HTTP/2 request with headers as they are; neither checked nor put in order."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    config = H2Configuration(
        client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False,
        validate_inbound_headers=False, header_encoding=None,
    )  # fmt: skip
    wire = H2Connection(config=config)
    try:
        wire.initiate_connection()
        wire.send_headers(1, headers, end_stream=not body)
        if body:
            wire.send_data(1, body, end_stream=True)
        writer.write(wire.data_to_send())
        return await asyncio.wait_for(_answer(reader, writer, wire), SECONDS)
    except (ConnectionError, TimeoutError):
        return Heard((), b"")
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: H2Connection) -> Heard:
    statuses: list[int] = []
    raw = b""
    while part := await reader.read(65536):
        for event in wire.receive_data(part):
            if isinstance(event, ResponseReceived):
                found = dict(event.headers)
                statuses.append(int(found[b":status"]))
                raw += b"\n".join(name + b": " + value for name, value in event.headers) + b"\n"
            elif isinstance(event, DataReceived):
                raw += event.data
            elif isinstance(event, (StreamEnded, StreamReset, ConnectionTerminated)):
                return Heard(tuple(statuses), raw)
        writer.write(wire.data_to_send())
    return Heard(tuple(statuses), raw)


def tls(ca_file: str) -> ssl.SSLContext:
    """A client of the edge's TLS port that speaks HTTP/2."""
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2"])
    return context
