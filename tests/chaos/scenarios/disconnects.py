"""A client that goes away in every phase of a turn, and one that cancels in every phase.

What the contract says (`Turns.StreamTurn`): a turn goes on when its client is gone. So after a disconnect
the turn is completed and stored whole, and can be streamed again from its first event, byte for byte.
`:cancel` ends it, and an OpenAI client, who has no way to come back, cancels by going away: then the
model's slot is free within 100 ms. Afterwards nothing is left over: no slot, no place in the queue, no
lease, no call, no key of a turn that does not exist, and none that does not expire.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import aiohttp
import grpc.aio

from tests.chaos.fault import Outcome
from tests.chaos.scenarios import leftovers
from tests.chaos.scenarios.leftovers import Model
from tests.chaos.scenarios.load import client, damage
from tests.support.edge import LONG, Edge, Frames
from tests.support.stack import Stack
from tests.support.wires import Client, Event, GrpcClient, SseClient

NAME = "clients that go away"
QUICK, LONG_ROUNDS = 2, 20
BOUND_MS = 100.0
PROMPT = " ".join([LONG] * 40)
OPTIONS = {"max_tokens": 600, "min_tokens": 600, "recall": False}
SHORT = {"max_tokens": 24, "min_tokens": 24, "recall": False}
HEADER_SECONDS = 0.02
Step = Callable[["Place"], Awaitable[None]]


@dataclass(slots=True)
class Place:
    """A client in the middle of a turn."""

    client: Client
    session: str
    choice: random.Random
    model: Model
    events: list[Event] = field(default_factory=list)

    @property
    def turn_id(self) -> str:
        """The turn, once it was accepted."""
        return next((event.turn_id for event in self.events if event.turn_id), "")

    async def until(self, kind: str, count: int, options: Mapping[str, object]) -> None:
        """Stream until so many events of a kind came, then go away."""
        events = self.client.stream(self.session, PROMPT, request_id=uuid.uuid4().hex, **options)
        await self._take(events, kind, count)

    async def again(self, count: int) -> None:
        """Resume from the first event, and go away in the middle."""
        await self._take(self.client.resume(self.session, self.turn_id, 0), "delta", count)

    async def _take(self, events: AsyncGenerator[Event, None], kind: str, count: int) -> None:
        async with contextlib.aclosing(events):
            async for event in events:
                self.events.append(event)
                count -= event.kind == kind
                if count <= 0:
                    return


async def before_headers(place: Place) -> None:
    """Ask, and go away before an answer can have come."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(place.choice.random() * HEADER_SECONDS):
            await place.until("accepted", 1, OPTIONS)


async def accepted(place: Place) -> None:
    """Go away at the first event: the model reads the prompt."""
    await place.until("accepted", 1, OPTIONS)


async def queued(place: Place) -> None:
    """Go away while every slot of the model is another's."""
    async with place.model.all_slots_taken() as behind:
        await place.until("accepted", 1, OPTIONS)
        await place.model.until_waiting(behind + 1)


async def decoding(place: Place) -> None:
    """Go away in mid-sentence."""
    await place.until("delta", place.choice.randint(1, 6), OPTIONS)


async def before_the_end(place: Place) -> None:
    """Go away with the last words."""
    await place.until("delta", place.choice.randint(1, 3), SHORT)


async def resuming(place: Place) -> None:
    """Go away, come back, go away again."""
    await decoding(place)
    await place.again(place.choice.randint(1, 3))


PHASES: tuple[Step, ...] = (before_headers, accepted, queued, decoding, before_the_end, resuming)
CANCELLED: tuple[Step, ...] = (accepted, queued, decoding, resuming)


async def run(stack: Stack, *, seed: int, quick: bool) -> Outcome:
    """Go away and cancel in every phase on both wires, twenty times; judge how soon slots are free."""
    found = await go_away(stack, seed=seed, rounds=QUICK if quick else LONG_ROUNDS)
    worst = found.figures.get("slot_free_p95_ms", 0.0)
    late = () if worst <= BOUND_MS else (f"slots are free after {worst} ms (p95), the bound is {BOUND_MS}",)
    return replace(found, wrong=(*found.wrong, *late))


async def go_away(stack: Stack, *, seed: int, rounds: int) -> Outcome:
    """Go away and cancel in every phase, on both wires, so many times."""
    choice = random.Random(seed)
    user = await stack.new_tenant()
    counts = {"disconnects": 0, "cancels": 0, "OpenAI clients": 0}
    freed: list[float] = []
    wrong: list[str] = []
    async with client(stack) as first, Model.of(stack) as model, _wires(stack, first, user.api_key) as wires:
        edge = first.as_user(user.api_key)
        for _ in range(rounds):
            for wire in wires:
                for phase in PHASES:
                    wrong += await _disconnect(
                        edge, Place(wire, await edge.session("bootstrap"), choice, model), phase
                    )
                    counts["disconnects"] += 1
                for phase in CANCELLED:
                    place = Place(wire, await edge.session("bootstrap"), choice, model)
                    wrong += await _cancel(edge, place, phase, freed)
                    counts["cancels"] += 1
            wrong += await _openai(edge, model, freed)
            counts["OpenAI clients"] += 1
        wrong += await leftovers.found(stack, user.tenant, edge, model)
    ordered = sorted(freed) or [0.0]
    figures = {
        "slot_free_p50_ms": ordered[len(ordered) // 2] * 1000,
        "slot_free_p95_ms": ordered[int(len(ordered) * 0.95)] * 1000,
        "slot_free_max_ms": ordered[-1] * 1000,
    }
    rounded = {name: round(value, 1) for name, value in figures.items()}
    return Outcome(name=NAME, counts=counts, figures=rounded, wrong=tuple(wrong))


@contextlib.asynccontextmanager
async def _wires(stack: Stack, edge: Edge, key: str) -> AsyncGenerator[tuple[Client, ...], None]:
    """SSE over HTTP, and gRPC over TLS."""
    credentials = grpc.ssl_channel_credentials(await asyncio.to_thread(stack.ca_file.read_bytes))
    async with grpc.aio.secure_channel(stack.grpc_target, credentials) as channel:
        yield SseClient(edge.http, edge.url, key), GrpcClient(channel, key)


async def _disconnect(edge: Edge, place: Place, phase: Step) -> list[str]:
    """Go away; whatever was made of the turn ends by itself and is whole."""
    await phase(place)
    listed = (await edge.get(f"/v1/sessions/{place.session}/turns")).body.get("turns", [])
    if place.turn_id and [turn["id"] for turn in listed] != [place.turn_id]:
        return [f"{phase.__name__}: {place.turn_id} was accepted, {listed} is there"]
    wrong = []
    for turn in listed:
        frames = Frames(session_id=place.session)
        path = f"/v1/sessions/{place.session}/turns/{turn['id']}:stream?from_seq=0"
        async for event in edge.events("GET", path):
            frames.take(event)
        wrong += [f"{phase.__name__}: {one}" for one in await damage(edge, frames)]
    return wrong


async def _cancel(edge: Edge, place: Place, phase: Step, freed: list[float]) -> list[str]:
    """Go away and cancel; note how long the model's slot stayed taken."""
    if phase is queued:
        async with place.model.all_slots_taken() as behind:
            await accepted(place)
            await place.model.until_waiting(behind + 1)
            cancelled = await _cancel_call(edge, place)
    else:
        await phase(place)
        taken = await place.model.busy()
        begun = asyncio.get_running_loop().time()
        cancelling = asyncio.create_task(_cancel_call(edge, place))
        await place.model.until_busy(0)
        if taken:
            freed.append(asyncio.get_running_loop().time() - begun)
        cancelled = await cancelling
    if cancelled.get("state") not in ("TURN_STATE_CANCELLED", "TURN_STATE_COMPLETED"):
        return [f"cancel {phase.__name__}: {cancelled}"]
    return []


async def _cancel_call(edge: Edge, place: Place) -> dict[str, object]:
    answer = await edge.post(f"/v1/sessions/{place.session}/turns/{place.turn_id}:cancel")
    return answer.body if answer.status == 200 else {"status": answer.status, "body": answer.body}


async def _openai(edge: Edge, model: Model, freed: list[float]) -> list[str]:
    """An OpenAI client goes away in mid-stream: its turn is cancelled."""
    body = {
        "model": "bootstrap", "stream": True, "max_tokens": 900,
        "messages": [{"role": "user", "content": PROMPT}],
    }  # fmt: skip
    headers = edge.headers() | {"content-type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=60)
    async with edge.http.post(
        f"{edge.url}/v1/chat/completions", data=json.dumps(body), headers=headers, timeout=timeout
    ) as answer:
        if answer.status != 200:
            return [f"chat: {answer.status} {await answer.text()}"]
        async for line in answer.content:
            if b'"content": "' in line and b'"content": ""' not in line:
                break
        taken = await model.busy()
        begun = asyncio.get_running_loop().time()
        answer.close()
    await model.until_busy(0)
    if taken:
        freed.append(asyncio.get_running_loop().time() - begun)
    return []
