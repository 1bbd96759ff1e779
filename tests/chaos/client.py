"""One journalled user of the edge: every call is on the disk before it is sent, and after it is known."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tests.chaos.journal import Journal, Json, Outcome, Owner
from tests.support.edge import ENDS, Edge

LOST = (aiohttp.ClientError, TimeoutError, OSError)
REFUSALS = frozenset(range(400, 500)) - {408, 499}
STREAM_SILENCE = 60.0
"""Pings come every 15 s: a stream that is silent for longer is dead."""
RECONNECTS = 200
LONGEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """What a client knows after a call."""

    outcome: Outcome
    status: int = 0
    answer: Any = None
    seconds: float = 0.0
    """From the first byte sent to the last one read; not what the journal took."""


@dataclass(slots=True)
class Joined:
    """A stream as its client has it."""

    turn_id: str = ""
    next_seq: int = 0
    end: str = ""
    deltas: int = 0

    def take(self, event: Json) -> None:
        """Take an event; the checker judges its place."""
        if "ping" in event:
            return
        self.next_seq += 1
        self.deltas += "delta" in event
        if "accepted" in event:
            self.turn_id = event["accepted"]["turn_id"]
        self.end = next((kind for kind in ENDS if kind in event), self.end)


@dataclass(slots=True)
class Client:
    """One user: its tenant, its generator, its way to the edge."""

    edge: Edge
    journal: Journal
    owner: Owner
    choice: Random
    name: str
    made: int = field(default=0)

    def new_id(self) -> str:
        """Give the next id; the same for the same seed."""
        self.made += 1
        return f"{self.name}-{self.made}-{self.choice.getrandbits(64):016x}"

    async def call(
        self, kind: str, method: str, path: str, body: Json | None = None, *,
        asked: Mapping[str, Any], request_id: str = "", headers: Mapping[str, str] | None = None,
    ) -> Known:  # fmt: skip
        """Make one call that answers whole."""
        op = await self._sent(kind, asked, request_id)
        begun = time.monotonic()
        try:
            answer = await self.edge.call(method, path, body, raw=None, **headers or {})
        except LOST as error:
            known = Known(Outcome.UNKNOWN, answer=type(error).__name__, seconds=time.monotonic() - begun)
        else:
            seconds = time.monotonic() - begun
            known = Known(outcome_of(answer.status), answer.status, answer.body, seconds)
        await self._answered(op, known)
        return known

    async def stream(
        self, session: str, body: Json, *, asked: Mapping[str, Any], leave_after: int = 0
    ) -> Joined:
        """Run a turn to its end over as many connections as it takes; or leave after some deltas."""
        op = await self._sent("turn.stream", asked, str(body["request_id"]))
        joined = Joined()
        path = f"/v1/sessions/{session}/turns"
        status = await self._follow(op, joined, path, body, leave_after=leave_after)
        await self._answered(op, Known(_outcome_of_stream(joined, status), status))
        return joined

    async def read_again(self, session: str, turn: str) -> Joined:
        """Read an ended turn's stream from its beginning."""
        op = await self._sent("turn.read", {"session_id": session, "turn_id": turn}, "")
        joined = Joined(turn_id=turn)
        status = await self._follow(op, joined, f"/v1/sessions/{session}/turns", None, leave_after=0)
        await self._answered(op, Known(_outcome_of_stream(joined, status), status))
        return joined

    async def _follow(
        self, op: str, joined: Joined, path: str, body: Json | None, *, leave_after: int
    ) -> int:
        for attempt in range(RECONNECTS):
            if joined.turn_id:
                lines = self._lines(op, "GET", f"{path}/{joined.turn_id}:stream?from_seq={joined.next_seq}",
                                    None, joined.next_seq)  # fmt: skip
            else:
                lines = self._lines(op, "POST", f"{path}:stream", body, 0)
            status = 0
            try:
                async for status, event in lines:
                    if event is not None:
                        joined.take(event)
                    if leave_after and joined.deltas >= leave_after:
                        return status
            except LOST as error:
                self.journal.note({"at": "broken", "op": op, "cause": type(error).__name__})
            finally:
                await lines.aclose()  # type: ignore[attr-defined]  # an async generator
            if joined.end or (status in REFUSALS and status != 409):
                return status
            if status == 409 and not joined.turn_id:
                return status
            if status == 409:  # the log went back: read it again from 0
                joined.next_seq = joined.deltas = 0
            await asyncio.sleep(min(0.05 * 2**attempt, LONGEST_PAUSE))
        return 0

    async def _lines(
        self, op: str, method: str, path: str, body: Json | None, from_seq: int
    ) -> AsyncIterator[tuple[int, Json | None]]:
        """Yield (status, None) once connected, then (status, event)."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", **self.edge.headers()}
        await self.journal.write({"at": "connected", "op": op, "from_seq": from_seq})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=STREAM_SILENCE)
        async with self.edge.http.request(
            method, self.edge.url + path, data=data, headers=headers, timeout=timeout
        ) as answer:
            if answer.status != 200:
                cause = f"{answer.status} {await answer.text()}"
                self.journal.note({"at": "broken", "op": op, "cause": cause})
            yield answer.status, None
            async for line in answer.content if answer.status == 200 else _nothing():
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    self.journal.note({"at": "event", "op": op, "event": event})
                    yield answer.status, event

    async def _sent(self, kind: str, asked: Mapping[str, Any], request_id: str) -> str:
        op = self.new_id()
        line = {"at": "sent", "op": op, "tenant": self.owner.tenant, "kind": kind, "asked": dict(asked)}
        await self.journal.write({**line, "request_id": request_id})
        return op

    async def _answered(self, op: str, known: Known) -> None:
        line = {"at": "answered", "op": op, "outcome": known.outcome, "status": known.status}
        await self.journal.write({**line, "answer": known.answer})


async def _nothing() -> AsyncIterator[bytes]:
    for line in tuple[bytes, ...]():
        yield line


def outcome_of(status: int) -> Outcome:
    """What an HTTP status says of an operation."""
    if 200 <= status < 300:
        return Outcome.OK
    return Outcome.REFUSED if status in REFUSALS else Outcome.UNKNOWN


def _outcome_of_stream(joined: Joined, status: int) -> Outcome:
    if joined.end == "completed":
        return Outcome.OK
    if joined.end == "failed":
        return Outcome.FAILED
    if joined.end == "refused" or (status in REFUSALS and not joined.turn_id):
        return Outcome.REFUSED
    return Outcome.UNKNOWN
