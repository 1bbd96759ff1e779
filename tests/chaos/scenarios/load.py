"""Load beside an operation: calls that are never tried again, and streams that resume where they break.

Every call has to succeed at its first attempt. Every stream, joined over its reconnects, has to equal the
stored text byte for byte, with no event twice and none missing (`Frames.take` refuses both).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import grpc
import grpc.aio

from tests.support.edge import LONG, Answer, Edge, Frames
from tests.support.stack import Stack
from tests.support.wires import GrpcClient

OPTIONS = {"max_tokens": 200, "min_tokens": 200, "recall": False}
LONG_OPTIONS = {"max_tokens": 900, "min_tokens": 900, "recall": False}
PAUSE_SECONDS = 0.02
LAST_SECONDS = 120.0
Call = Callable[[Edge], Awaitable[Answer]]

# Through the edge to every service, and from service to service behind it.
CALLS: dict[str, Call] = {
    "create a session": lambda edge: edge.post("/v1/sessions", {"persona": "bootstrap"}),
    "list sessions": lambda edge: edge.get("/v1/sessions"),
    "remember": lambda edge: edge.post("/v1/memories", {"text": "A process gave its place to a successor."}),
    "recall": lambda edge: edge.post("/v1/memories:recall", {"query": "who gave its place", "limit": 3}),
    "list models": lambda edge: edge.get("/v1/models"),
    "embed": lambda edge: edge.post("/v1/embeddings", {"model": "embed", "input": "a successor"}),
    "chat": lambda edge: edge.post(
        "/v1/chat/completions",
        {"model": "bootstrap", "messages": [{"role": "user", "content": LONG}], "max_tokens": 4},
    ),
    "list keys": lambda edge: edge.get("/v1/keys"),
    "read the audit log": lambda edge: edge.get("/v1/audit/records"),
}


@dataclass(slots=True)
class Tally:
    """What the load met."""

    calls: Counter[str] = field(default_factory=Counter)
    streams: list[Frames] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def breaks(self) -> int:
        """How often a stream was cut and resumed."""
        return sum(frames.breaks for frames in self.streams)

    def counts(self) -> dict[str, int]:
        """What a report says of it."""
        return {"calls": self.calls.total(), "streams": len(self.streams), "breaks": self.breaks}


@contextlib.asynccontextmanager
async def client(stack: Stack) -> AsyncIterator[Edge]:
    """A client of the edge for the first user of the stack."""
    timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        yield Edge(http, url=stack.edge_url, key=stack.api_key)


@contextlib.asynccontextmanager
async def grpc_client(stack: Stack) -> AsyncIterator[GrpcClient]:
    """A client of the edge by gRPC over TLS."""
    credentials = grpc.ssl_channel_credentials(await asyncio.to_thread(stack.ca_file.read_bytes))
    async with grpc.aio.secure_channel(stack.grpc_target, credentials) as channel:
        yield GrpcClient(channel, stack.api_key)


@contextlib.asynccontextmanager
async def load(stack: Stack, *, seed: int, callers: int = 4, streams: int = 4) -> AsyncIterator[Tally]:
    """Call and stream until the block ends, let what runs come to its end, check every stream."""
    tally, over, choice = Tally(), asyncio.Event(), random.Random(seed)
    async with client(stack) as edge, grpc_client(stack) as native:
        async with asyncio.timeout(None) as bound, asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(_call(edge, random.Random(choice.random()), over, tally))
            group.create_task(_call_natively(native, over, tally))
            for _ in range(streams):
                group.create_task(_stream(edge, over, tally))
            try:
                yield tally
            finally:
                over.set()
                bound.reschedule(asyncio.get_running_loop().time() + LAST_SECONDS)
        for frames in tally.streams:
            tally.wrong += await damage(edge, frames)


async def damage(edge: Edge, frames: Frames) -> list[str]:
    """Say what is wrong with a stream; nothing where all is well."""
    if not frames.turn_id:
        return [f"a turn of {frames.session_id} was never accepted"]
    turn = await edge.stored(frames)
    if frames.end != "completed":
        return [f"{frames.turn_id} ended with {frames.events[-1]}"]
    if turn.get("text", "").encode() != frames.text.encode():
        return [f"{frames.turn_id}: {frames.text!r} was streamed, {turn.get('text')!r} is stored"]
    return []


async def _call(edge: Edge, choice: random.Random, over: asyncio.Event, tally: Tally) -> None:
    while not over.is_set():
        name = choice.choice(tuple(CALLS))
        try:
            answer = await CALLS[name](edge)
        except (aiohttp.ClientError, TimeoutError) as error:
            tally.wrong.append(f"{name}: {type(error).__name__}: {error}")
        else:
            if answer.status >= 300:
                tally.wrong.append(f"{name}: {answer.status} {answer.body}")
        tally.calls[name] += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def _call_natively(native: GrpcClient, over: asyncio.Event, tally: Tally) -> None:
    while not over.is_set():
        try:
            await native.create_session("bootstrap")
        except grpc.aio.AioRpcError as error:
            tally.wrong.append(f"create a session by gRPC: {error.code().name}: {error.details()}")
        tally.calls["create a session by gRPC"] += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def _stream(edge: Edge, over: asyncio.Event, tally: Tally) -> None:
    for number in itertools.count():
        if over.is_set() and number:
            return
        try:
            session = await edge.session("bootstrap")
            tally.streams.append(await edge.turn(session, LONG, options=OPTIONS))
        except (AssertionError, aiohttp.ClientError, TimeoutError) as error:
            tally.wrong.append(f"stream: {type(error).__name__}: {error}")
