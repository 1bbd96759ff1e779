"""A small workload beside one fault, and the proof that everything it was told of is there afterwards.

The storm has a journal and a checker of its own; this is what a single fault's test needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from tests.support.edge import LONG, Edge, Frames, Json
from tests.support.stack import Stack

OPTIONS = {"max_tokens": 48, "recall": False}
CLIENTS = 3
PAUSE = 0.2
READY_SECONDS = 180.0
TRANSIENT = frozenset({401, 403, 409, 429, 500, 502, 503, 504})


@dataclass(slots=True)
class Acknowledged:
    """What clients were told while something was broken."""

    stack: Stack
    edge: Edge
    sessions: dict[str, str] = field(default_factory=dict)
    turns: list[Frames] = field(default_factory=list)
    answers: list[Json] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    stopping: bool = False

    async def session(self) -> str:
        """Create a session, with one request id over all tries."""
        request_id = uuid.uuid4().hex
        body = await self._told(
            "/v1/sessions", {"persona": "bootstrap", "request_id": request_id}, status=201
        )
        self.sessions[request_id] = str(body["id"])
        return self.sessions[request_id]

    async def turn(self, session: str) -> None:
        """Run a turn to its end, with one request id over all tries."""
        request_id = uuid.uuid4().hex
        while True:
            try:
                self.turns.append(await self.edge.turn(session, LONG, options=OPTIONS, request_id=request_id))
                return
            except AssertionError as error:
                status = int(str(error).partition(": ")[2][:3] or 0)
                self.statuses[status] += 1
                if status not in TRANSIENT:
                    raise
            await asyncio.sleep(PAUSE)

    async def whole(self, session: str) -> None:
        """Run a turn that is answered whole, with one request id over all tries."""
        body = {"input": {"text": LONG}, "request_id": uuid.uuid4().hex, "options": OPTIONS}
        self.answers.append(await self._told(f"/v1/sessions/{session}/turns", body, status=200))

    async def _told(self, path: str, body: Json, *, status: int) -> Json:
        """Ask until the answer has this status; give its body."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                answer = await self.edge.post(path, body)
                self.statuses[answer.status] += 1
                if answer.status == status:
                    return dict(answer.body)
                assert answer.status in TRANSIENT, answer
            await asyncio.sleep(PAUSE)

    async def work(self) -> None:
        """Create sessions and run turns until told to stop; what was begun is ended."""
        while not self.stopping:
            session = await self.session()
            await self.turn(session)
            await self.whole(await self.session())

    async def check(self) -> None:
        """Compare what clients were told with what is stored."""
        for frames in self.turns:
            turn = await self.edge.stored(frames)
            assert frames.end == "completed", (frames.turn_id, frames.events[-1], turn)
            assert turn.get("text", "") == frames.text, frames.turn_id
        for session in self.sessions.values():
            listed = await self.edge.get(f"/v1/sessions/{session}/turns")
            assert listed.status == 200, listed
            told = [one.turn_id for one in self.turns if one.session_id == session]
            told += [one["id"] for one in self.answers if one["session_id"] == session]
            assert [one["id"] for one in listed.body.get("turns", [])] == told, session
        for answer in self.answers:
            stored = await self.edge.get(f"/v1/sessions/{answer['session_id']}/turns/{answer['id']}")
            assert stored.body == answer, (stored, answer)
            assert answer["state"] == "TURN_STATE_COMPLETED", answer
        given = Counter(self.sessions.values())
        assert all(count == 1 for count in given.values()), given


@contextlib.asynccontextmanager
async def acknowledged(stack: Stack, *, clients: int = CLIENTS) -> AsyncIterator[Acknowledged]:
    """Work beside the block; afterwards wait until all is ready, end what was begun, and check it."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        work = Acknowledged(stack, Edge(http, url=stack.edge_url, key=stack.api_key))
        working = [asyncio.create_task(work.work(), name=f"client {n}") for n in range(clients)]
        try:
            yield work
            await stack.ready(seconds=READY_SECONDS)
            work.stopping = True
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.gather(*working)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
        await work.turn(await work.session())
        await work.check()
        assert len(work.turns) > 1
