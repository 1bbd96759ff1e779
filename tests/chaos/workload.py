"""What users do, by seed: sessions, turns streamed, whole and as chats, memories, documents, keys, cancels.

Every tenant writes its canary and each request's id into all words of its own. What came back unknown is
tried again with the same `request_id`, or left unknown now and then; some requests are sent twice at once;
some streams are left half way; now and then somebody asks for another tenant's things.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import aiohttp

from tests.chaos.canaries import new_canaries
from tests.chaos.client import Client, Known
from tests.chaos.holdings import Watched
from tests.chaos.journal import Journal, Json, Outcome, Owner
from tests.support.edge import Edge
from tests.support.stack import Stack

ATTEMPTS = 12
LEFT_UNKNOWN = 0.15
DUPLICATED = 0.15
LEFT_HALF_WAY = 0.1
CALL_SECONDS = 60.0
PERSONA, GUIDE = "bootstrap", "guide"
Step = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Knowledge:
    """What a user can name: its own sessions, turns and memories, and what others let slip."""

    sessions: list[str] = field(default_factory=list)
    guides: list[str] = field(default_factory=list)
    turns: list[tuple[str, str]] = field(default_factory=list)
    memories: list[str] = field(default_factory=list)


class User:
    """One user of a tenant, one thing after another."""

    def __init__(self, client: Client, known: Knowledge, others: Sequence[Knowledge], *, guide: bool) -> None:
        """Take what it asks with, what it knows, and whose things it must not see."""
        self.client = client
        self.known = known
        self._others = others
        self._choice = client.choice
        self._steps: list[tuple[Step, float]] = [
            (self._session, 2), (self._streamed, 6), (self._whole, 2), (self._chat, 1), (self._cancelled, 1),
            (self._remember, 3), (self._forget, 1), (self._recall, 1), (self._ingest, 1),
            (self._key, 0.5), (self._pry, 1), (self._guided, 1 if guide else 0),
        ]  # fmt: skip

    async def run(self, until: Callable[[], bool]) -> None:
        """Act until told to stop."""
        steps, weights = zip(*self._steps, strict=True)
        while not until():
            await self._choice.choices(steps, weights)[0]()

    async def once(self) -> None:
        """Do each thing once, in order."""
        for step, weight in self._steps:
            if weight:
                await step()

    async def read_again(self) -> None:
        """Read every turn that it knows from its beginning."""
        for session, turn in self.known.turns:
            await self.client.read_again(session, turn)

    def _words(self, request: str, *more: str) -> str:
        return " ".join((self.client.owner.canary, request, *more))

    async def _certain(self, request: Callable[[], Awaitable[Known]]) -> Known | None:
        """Ask until an outcome is known; None where it is left unknown."""
        if self._choice.random() < DUPLICATED:
            await asyncio.gather(request(), request())
        for attempt in range(ATTEMPTS):
            known = await request()
            if known.outcome is not Outcome.UNKNOWN:
                return known
            if self._choice.random() < LEFT_UNKNOWN:
                return None
            await asyncio.sleep(min(0.2 * 2**attempt, 2.0))
        return None

    async def _post(self, kind: str, path: str, body: Json, words: str, request: str) -> Known | None:
        async def ask() -> Known:
            return await self.client.call(
                kind, "POST", path, body | {"request_id": request},
                asked={"words": words}, request_id=request,
            )  # fmt: skip

        return await self._certain(ask)

    async def _session(self, persona: str = PERSONA) -> None:
        request = self.client.new_id()
        words = self._words(request)
        body: Json = {"persona": persona, "display_name": words}
        known = await self._post("session.create", "/v1/sessions", body, words, request)
        if known is not None and known.outcome is Outcome.OK:
            (self.known.guides if persona == GUIDE else self.known.sessions).append(known.answer["id"])

    def _turn(self, tokens: int) -> tuple[Json, str, str]:
        request = self.client.new_id()
        words = self._words(request, "Tell me more")
        options = {"max_tokens": tokens, "min_tokens": tokens, "recall": False}
        return {"input": {"text": words}, "request_id": request, "options": options}, words, request

    async def _any_session(self) -> str:
        if not self.known.sessions:
            await self._session()
        return self._choice.choice(self.known.sessions) if self.known.sessions else ""

    async def _streamed(self) -> None:
        if session := await self._any_session():
            body, words, _ = self._turn(self._choice.choice((16, 64, 160)))
            leave = self._choice.randint(1, 4) if self._choice.random() < LEFT_HALF_WAY else 0
            await self._stream(session, body, words, leave=leave)

    async def _stream(self, session: str, body: Json, words: str, *, leave: int = 0) -> None:
        asked = {"words": words, "session_id": session}
        times = 2 if self._choice.random() < DUPLICATED else 1
        streams = [self.client.stream(session, body, asked=asked, leave_after=leave) for _ in range(times)]
        for joined in await asyncio.gather(*streams):
            if joined.turn_id and (session, joined.turn_id) not in self.known.turns:
                self.known.turns.append((session, joined.turn_id))

    async def _whole(self) -> None:
        if session := await self._any_session():
            body, words, request = self._turn(24)
            path = f"/v1/sessions/{session}/turns"
            known = await self._post("turn.whole", path, body, words, request)
            if known is not None and known.outcome is Outcome.OK:
                self.known.turns.append((session, known.answer["id"]))

    async def _chat(self) -> None:
        """A turn as OpenAI's clients ask for it: the gateway makes its session."""
        request = self.client.new_id()
        words = self._words(request, "Tell me more")
        body: Json = {"model": PERSONA, "messages": [{"role": "user", "content": words}], "max_tokens": 24}

        async def ask() -> Known:
            return await self.client.call(
                "turn.chat", "POST", "/v1/chat/completions", body,
                asked={"words": words}, request_id=request, headers={"idempotency-key": request},
            )  # fmt: skip

        known = await self._certain(ask)
        if known is not None and known.outcome is Outcome.OK:
            told = known.answer["soma"]
            self.known.turns.append((told["session_id"], told["turn_id"]))

    async def _guided(self) -> None:
        if not self.known.guides:
            await self._session(GUIDE)
        if self.known.guides:
            request = self.client.new_id()
            words = self._words(request, "What is in the document?")
            body: Json = {"input": {"text": words}, "request_id": request, "options": {"max_tokens": 48}}
            await self._stream(self._choice.choice(self.known.guides), body, words)

    async def _cancelled(self) -> None:
        session = await self._any_session()
        if not session:
            return
        body, words, _ = self._turn(400)
        asked = {"words": words, "session_id": session}
        joined = await self.client.stream(session, body, asked=asked, leave_after=2)
        if not joined.turn_id:
            return
        self.known.turns.append((session, joined.turn_id))
        path = f"/v1/sessions/{session}/turns/{joined.turn_id}:cancel"
        await self._certain(
            lambda: self.client.call("turn.cancel", "POST", path, {}, asked={"turn_id": joined.turn_id})
        )

    async def _remember(self) -> None:
        request = self.client.new_id()
        words = self._words(request, "was noted")
        known = await self._post("memory.remember", "/v1/memories", {"text": words}, words, request)
        if known is not None and known.outcome is Outcome.OK:
            self.known.memories.append(known.answer["id"])

    async def _forget(self) -> None:
        if self.known.memories:
            memory = self.known.memories.pop(self._choice.randrange(len(self.known.memories)))
            path = f"/v1/memories/{memory}"
            await self._certain(
                lambda: self.client.call("memory.forget", "DELETE", path, asked={"memory_id": memory})
            )

    async def _recall(self) -> None:
        body: Json = {"query": "what was noted", "limit": 20}
        await self.client.call("memory.recall", "POST", "/v1/memories:recall", body, asked={})
        await self.client.call("document.retrieve", "POST", "/v1/documents:retrieve", body, asked={})

    async def _ingest(self) -> None:
        request = self.client.new_id()
        words = self._words(request)
        text = f"# {words}\n\nThe tide table of {self.client.owner.canary} lists {request}.\n"
        content = base64.b64encode(text.encode()).decode()
        body: Json = {"title": words, "media_type": "text/markdown", "content": content}
        await self._post("document.ingest", "/v1/documents", body, words, request)

    async def _key(self) -> None:
        request = self.client.new_id()
        words = self._words(request)
        await self._post("key.create", "/v1/keys", {"display_name": words, "valid_days": 1}, words, request)

    async def _pry(self) -> None:
        """Ask for what is another tenant's, and for all that is one's own."""
        other = self._choice.choice(self._others) if self._others else Knowledge()
        paths = ["/v1/sessions?page_size=100", "/v1/memories?page_size=100", "/v1/keys"]
        paths += [f"/v1/sessions/{one}" for one in other.sessions[-1:]]
        paths += [f"/v1/sessions/{session}/turns/{turn}" for session, turn in other.turns[-1:]]
        paths += [f"/v1/memories/{one}" for one in other.memories[-1:]]
        for path in paths:
            await self.client.call("pry", "GET", path, asked={"path": path})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Tenants and their users, ready to act."""

    watched: tuple[Watched, ...]
    users: tuple[User, ...]

    async def run(self, until: Callable[[], bool]) -> None:
        """All users at once, until told to stop."""
        async with asyncio.TaskGroup() as group:
            for user in self.users:
                group.create_task(user.run(until))

    async def once(self) -> None:
        """All users do each thing once."""
        async with asyncio.TaskGroup() as group:
            for user in self.users:
                group.create_task(user.once())

    async def read_again(self) -> None:
        """Every turn is read again from its beginning, after all is done."""
        firsts = {id(user.known): user for user in self.users}  # the users of a tenant know the same turns
        async with asyncio.TaskGroup() as group:
            for user in firsts.values():
                group.create_task(user.read_again())


@asynccontextmanager
async def workload(
    stack: Stack, journal: Journal, *, seed: int, tenants: int = 3, users: int = 3, guide: bool = True
) -> AsyncIterator[Workload]:
    """Make tenants of a run's own, and their users."""
    owners = []
    for canary in new_canaries(tenants):
        tenant = await stack.new_tenant()
        owners.append(Watched(owner=Owner(tenant=tenant.tenant, canary=canary), tenant=tenant))
    await journal.begin(seed=seed, owners=[one.owner for one in owners])
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        known = [Knowledge() for _ in owners]
        made = []
        for place, one in enumerate(owners):
            for number in range(users):
                name = f"{place}.{number}"
                client = Client(
                    Edge(http, url=stack.edge_url, key=one.tenant.api_key), journal, one.owner,
                    Random(f"{seed} {name}"), name,
                )  # fmt: skip
                others = [each for each in known if each is not known[place]]
                made.append(User(client, known[place], others, guide=guide))
        yield Workload(watched=tuple(owners), users=tuple(made))
