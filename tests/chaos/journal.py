"""The client's journal: what was asked and what came back, one JSON line each, on disk before it counts.

`write` returns once its line is fsynced, so that an operation whose line `sent` was awaited is known even
where the client dies the next moment. `note` only orders a line before the next durable one: an event of a
stream is worth no fsync of its own. One thread writes and syncs for everybody (group commit).

Lines by `at`: `run` (seed and tenants), `sent`, `connected`, `event`, `broken`, `answered`.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]


class Outcome(StrEnum):
    """What a client knows of an operation.

    OK: done, and told so. REFUSED: told that it was not done. FAILED: told that it came to a bad end, such
    as a turn that ended with `failed`. UNKNOWN: nothing definite was told.
    """

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A tenant of a run, and the word that only it ever writes."""

    tenant: str
    canary: str


@dataclass(slots=True, kw_only=True)
class Connection:
    """One connection of a stream: where it began and what it brought."""

    from_seq: int
    events: list[Json] = field(default_factory=list)
    broken: str = ""


@dataclass(slots=True, kw_only=True)
class Operation:
    """One attempt: the same request may have several, with the same `request_id`."""

    id: str
    tenant: str
    kind: str
    request_id: str = ""
    asked: Json = field(default_factory=dict)
    time: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    status: int = 0
    answer: Any = None
    connections: list[Connection] = field(default_factory=list)


@dataclass(slots=True)
class Story:
    """A journal that was read."""

    seed: int = 0
    owners: tuple[Owner, ...] = ()
    operations: dict[str, Operation] = field(default_factory=dict)

    @property
    def tenants(self) -> frozenset[str]:
        """Whose operations these are."""
        return frozenset(owner.tenant for owner in self.owners)

    def of(self, *kinds: str) -> list[Operation]:
        """The operations of some kinds, in order."""
        return [one for one in self.operations.values() if one.kind in kinds]

    def requests(self, *kinds: str) -> dict[tuple[str, str, str], list[Operation]]:
        """All attempts of each request, by tenant, kind and request id."""
        found: dict[tuple[str, str, str], list[Operation]] = {}
        for one in self.of(*kinds):
            found.setdefault((one.tenant, one.kind, one.request_id), []).append(one)
        return found


class Journal:
    """An open journal. Lines are appended in the order of the calls."""

    def __init__(self, path: Path) -> None:
        """Open the file, and start the thread that writes."""
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._waiting: list[tuple[bytes, asyncio.Future[None] | None]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left, and close."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        os.close(self._file)

    async def begin(self, *, seed: int, owners: Iterable[Owner]) -> None:
        """Write whose run this is."""
        tenants = [{"tenant": one.tenant, "canary": one.canary} for one in owners]
        await self.write({"at": "run", "seed": seed, "owners": tenants})

    async def write(self, line: Mapping[str, Any]) -> None:
        """Append a line; return when it is on the disk.

        Raises:
            OSError: it could not be written: nothing may be sent.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._append(line, durable)
        await durable

    def note(self, line: Mapping[str, Any]) -> None:
        """Append a line that becomes durable with the next one that is awaited."""
        self._append(line, None)

    def _append(self, line: Mapping[str, Any], durable: asyncio.Future[None] | None) -> None:
        encoded = json.dumps({"time": time.time(), **line}, separators=(",", ":")).encode() + b"\n"
        with self._changed:
            if self._failure is not None:
                raise OSError("the journal could not be written") from self._failure
            self._waiting.append((encoded, durable))
            if durable is not None:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or any(durable for _, durable in self._waiting))
                batch, self._waiting = self._waiting, []
                if not batch and self._closing:
                    return
            try:
                _write_all(self._file, b"".join(line for line, _ in batch))
                os.fsync(self._file)
            except OSError as error:
                with self._changed:
                    self._failure = error
                _settle(batch, error)
                return
            _settle(batch, None)


def _settle(batch: list[tuple[bytes, asyncio.Future[None] | None]], error: BaseException | None) -> None:
    for _, durable in batch:
        if durable is not None:
            durable.get_loop().call_soon_threadsafe(_resolve, durable, error)


def _resolve(durable: asyncio.Future[None], error: BaseException | None) -> None:
    if durable.done():  # its client was cancelled
        return
    if error is None:
        durable.set_result(None)
    else:
        durable.set_exception(error)


def _write_all(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


def read(path: Path) -> Story:
    """Read a journal. A torn last line is what a killed client leaves: its operation is unknown.

    Raises:
        ValueError: another line is damaged.
    """
    return story_of(_lines(path.read_bytes()))


def _lines(content: bytes) -> Iterable[Json]:
    whole, _, _torn = content.rpartition(b"\n")
    for line in whole.splitlines():
        yield json.loads(line)


def story_of(lines: Iterable[Json]) -> Story:
    """Put the lines of a journal together."""
    story = Story()
    for line in lines:
        if line["at"] == "run":
            story.seed = line["seed"]
            story.owners = tuple(Owner(tenant=one["tenant"], canary=one["canary"]) for one in line["owners"])
        elif line["at"] == "sent":
            story.operations[line["op"]] = Operation(
                id=line["op"], tenant=line["tenant"], kind=line["kind"], asked=line["asked"],
                request_id=line.get("request_id", ""), time=line.get("time", 0.0),
            )  # fmt: skip
        else:
            _add(story.operations[line["op"]], line)
    return story


def _add(operation: Operation, line: Json) -> None:
    match line["at"]:
        case "connected":
            operation.connections.append(Connection(from_seq=line["from_seq"]))
        case "event":
            operation.connections[-1].events.append(line["event"])
        case "broken":
            operation.connections[-1].broken = line["cause"]
        case "answered":
            operation.outcome = Outcome(line["outcome"])
            operation.status = line.get("status", 0)
            operation.answer = line.get("answer")
        case other:
            raise ValueError(f"a journal has no line {other!r}")
