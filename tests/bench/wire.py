"""A client that costs little: HTTP/1.1 over kept connections, and plans of calls in several processes.

Python's usual clients use as much CPU for a call as the service does. This one writes a prepared
request and reads status and length of the answer, nothing more: about 30 us a call. A latency counts
from the moment when the call was due, so that a client which falls behind hides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final
from urllib.parse import urlsplit

from mesh.runtime import eventloop

_HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prepared request."""

    host: str
    port: int
    content: bytes

    @classmethod
    def post(cls, url: str, path: str, *, key: str, body: bytes) -> Request:
        """Prepare a POST of JSON."""
        parts = urlsplit(url)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return cls(host=parts.hostname or "", port=parts.port or 80, content=head.encode() + body)


class Connection:
    """One kept connection; one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open connection."""
        self._reader = reader
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, request: Request) -> AsyncIterator[Connection]:
        """Connect to where a request goes."""
        reader, writer = await asyncio.open_connection(request.host, request.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def call(self, content: bytes) -> int:
        """Send a request, read its answer away, and give the status."""
        self._writer.write(content)
        head = await self._reader.readuntil(_HEAD_END)
        status = int(head[9:12])
        lines = head.lower().split(b"\r\n")
        length = next((int(one[15:]) for one in lines if one.startswith(b"content-length:")), None)
        if length is not None:
            await self._reader.readexactly(length)
            return status
        while size := int((await self._reader.readline()).strip() or b"0", 16):  # chunked
            await self._reader.readexactly(size + 2)
        await self._reader.readexactly(2)
        return status


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one process of clients does.

    Attributes:
        request: what each call sends.
        clients: connections, each a client of its own.
        seconds: how long calls are begun.
        pause: between the end of a client's call and its next one.
        ramp: over how many seconds the clients join, one after the other.
        rate: calls a second that are due, whoever is free; 0 where each client goes at its own pace.
    """

    request: Request
    clients: int
    seconds: float
    pause: float = 0.0
    ramp: float = 0.0
    rate: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What came of a plan."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def take(self, status: int, milliseconds: float) -> None:
        """Keep one call."""
        self.milliseconds.append(milliseconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    @property
    def failed(self) -> int:
        """Calls that were not answered well."""
        return sum(count for status, count in self.statuses.items() if not 200 <= status < 300)

    @classmethod
    def joined(cls, each: Sequence[Outcome]) -> Outcome:
        """Put what several processes saw together."""
        found = cls(seconds=max(one.seconds for one in each))
        for one in each:
            found.milliseconds += one.milliseconds
            for status, count in one.statuses.items():
                found.statuses[status] = found.statuses.get(status, 0) + count
        return found


async def play(plan: Plan) -> Outcome:
    """Carry a plan out in this process; status 0 is a connection that broke."""
    outcome, start = Outcome(), time.perf_counter()
    turn = iter(range(int(plan.rate * plan.seconds))) if plan.rate else None

    async def client(number: int) -> None:
        await asyncio.sleep(plan.ramp * number / plan.clients)
        while time.perf_counter() - start < plan.seconds:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with Connection.open(plan.request) as connection:
                    await _calls(connection, plan, outcome, start, turn)
                    return
            outcome.take(0, 0.0)
            await asyncio.sleep(0.1)

    await asyncio.gather(*(client(number) for number in range(plan.clients)))
    outcome.seconds = time.perf_counter() - start
    return outcome


async def _calls(
    connection: Connection, plan: Plan, outcome: Outcome, start: float, due: Iterator[int] | None
) -> None:
    while time.perf_counter() - start < plan.seconds:
        begin = time.perf_counter()
        if due is not None:
            place = next(due, None)
            if place is None:
                return
            begin = start + place / plan.rate
            await asyncio.sleep(max(0.0, begin - time.perf_counter()))
        status = await connection.call(plan.request.content)
        outcome.take(status, (time.perf_counter() - begin) * 1000)
        if plan.pause:
            await asyncio.sleep(plan.pause)


def _process(plan: Plan) -> Outcome:
    return eventloop.run(play(plan))


class Processes:
    """Processes of clients, started before anything is measured."""

    def __init__(self, count: int) -> None:
        """Start so many."""
        self._count = count
        self._pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))

    async def play(self, plan: Plan) -> Outcome:
        """Carry a plan out, its clients and its rate divided among the processes."""
        share = Plan(
            request=plan.request,
            clients=-(-plan.clients // self._count),
            seconds=plan.seconds,
            pause=plan.pause,
            ramp=plan.ramp,
            rate=plan.rate / self._count,
        )
        loop = asyncio.get_running_loop()
        parts = [loop.run_in_executor(self._pool, _process, share) for _ in range(self._count)]
        return Outcome.joined(await asyncio.gather(*parts))

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)
