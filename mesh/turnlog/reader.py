"""Reading a log: from any event on, at any replica, with one blocking read a stream.

Events pass through as the bytes that were written; nobody here parses them.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import hiredis

from mesh.turnlog.connection import Connection
from mesh.turnlog.errors import LogDamaged, LogUnavailable
from mesh.turnlog.keys import TurnKey
from mesh.turnlog.link import Link

_START: Final = b"0-0"
_SLACK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a log."""

    seq: int
    event: bytes
    tokens: int
    """Tokens made up to here."""
    last: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All events that a log holds now."""

    entries: tuple[Entry, ...]

    @property
    def ended(self) -> bool:
        """Whether the last event is there."""
        return bool(self.entries) and self.entries[-1].last


def entries_of(raw: Iterable[Any]) -> Iterator[Entry]:
    """Turn Redis's entries into events; fences are left out."""
    for entry_id, fields in raw:
        place = int(entry_id.partition(b"-")[2])
        if place:
            yield Entry(place - 1, fields[1], int(fields[3]), len(fields) > 4)


class LogReader:
    """Reads logs over a bounded set of connections."""

    def __init__(self, link: Link, *, most: int = 1024, idle: int = 64) -> None:
        """Bound the reads at once; `idle` connections are kept for the next ones."""
        self._link = link
        self._most = most
        self._idle_bound = idle
        self._idle: list[Connection] = []
        self._open = 0

    async def snapshot(self, key: TurnKey) -> Snapshot:
        """Return what is there now; nothing where there is no log."""
        entries = tuple(entries_of(await self._link.call("XRANGE", key.log, "-", "+")))
        _check_order(entries, expected=0)
        return Snapshot(entries)

    async def follow(
        self, key: TurnKey, *, from_seq: int = 0, pause: float = 15.0
    ) -> AsyncGenerator[list[Entry] | None, None]:
        """Yield the events from `from_seq` on as they come; None after each `pause` without one.

        It ends after the last event, also where that lies before `from_seq`. A log that does not
        exist is waited for.

        Raises:
            LogUnavailable: Redis does not answer, or too many streams are read at once.
            LogDamaged: an event is missing, or the log was lost and holds other events where some
                were given already; read again from 0.
        """
        connection = await self._take()
        clean = False
        position: bytes = _START
        expected = from_seq
        given: list[int] = []
        try:
            while True:
                clean = False
                reply = await _blocking_read(connection, key, position, pause)
                clean = True
                if reply is None:
                    yield None
                    continue
                raw = reply[0][1]
                position = raw[-1][0]
                entries = list(entries_of(raw))
                _check_rewritten(entries, given, from_seq=from_seq)
                fresh = [entry for entry in entries if entry.seq >= expected]
                if fresh:
                    _check_order(fresh, expected=expected)
                    expected = fresh[-1].seq + 1
                    given += [hash(entry.event) for entry in fresh]
                    yield fresh
                if entries and entries[-1].last:
                    return
        finally:
            self._give(connection, clean=clean)

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open_now:
                self._open += 1
                return connection
        if self._open >= self._most:
            raise LogUnavailable(f"{self._open} streams are read at once, the bound is {self._most}")
        self._open += 1
        try:
            return await Connection.open(self._link.url)
        except BaseException:
            self._open -= 1
            raise

    def _give(self, connection: Connection, *, clean: bool) -> None:
        self._open -= 1
        if clean and connection.open_now and len(self._idle) < self._idle_bound:
            self._idle.append(connection)
        else:
            connection.close()  # a read is still under way on it: its answer would be misread

    def close(self) -> None:
        """Close the connections that nobody reads on."""
        while self._idle:
            self._idle.pop().close()


async def _blocking_read(connection: Connection, key: TurnKey, position: bytes, pause: float) -> Any:
    try:
        async with asyncio.timeout(pause + _SLACK_SECONDS):
            return await connection.send("XREAD", "BLOCK", int(pause * 1000), "STREAMS", key.log, position)
    except TimeoutError as error:
        raise LogUnavailable("redis does not answer") from error
    except hiredis.ReplyError as error:
        raise Link.explain(error) from error


def _check_order(entries: Iterable[Entry], *, expected: int) -> None:
    for seq, entry in enumerate(entries, start=expected):
        if entry.seq != seq:
            raise LogDamaged(f"seq {entry.seq} stands where {seq} belongs")


def _check_rewritten(entries: Iterable[Entry], given: list[int], *, from_seq: int) -> None:
    """A writer that outlives its log writes the same events again; a new one may write others."""
    for entry in entries:
        place = entry.seq - from_seq
        if 0 <= place < len(given) and hash(entry.event) != given[place]:
            raise LogDamaged(f"seq {entry.seq} is another event than it was")
