"""What the model, Redis and the processes still hold: nothing may stay of a turn that ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import aiohttp
from soma.mesh.v1 import service_pb2, service_pb2_grpc

from mesh.inference.ports import GenerationRequest, Sampling
from mesh.inference.triton import Triton
from mesh.turnlog import Link
from tests.chaos.scenarios import turnlogs
from tests.support.edge import LONG, Edge
from tests.support.replicas import mesh_channel
from tests.support.stack import Stack

MODEL = "slm"
BUSY, WAITING = "soma_model_slots_busy", "soma_model_requests_waiting"
PAUSE_SECONDS = 0.004
PATIENCE_SECONDS = 90.0
CALL_SECONDS = 20.0
STREAMING = ("soma.orchestrator.v1.Turns/", "soma.gateway.v1.OpenAI/")


@dataclass(frozen=True, slots=True)
class Model:
    """The generative model in Triton, as its own metrics show it, and a way to fill it."""

    http: aiohttp.ClientSession
    metrics: str
    triton: Triton

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, stack: Stack) -> AsyncGenerator[Model, None]:
        """Speak to a stack's model server directly."""
        ports = stack.settings.ports
        async with aiohttp.ClientSession() as http, Triton.open(ports.address("triton")) as triton:
            yield cls(http, f"http://{ports.address('triton-metrics')}/metrics", triton)

    async def busy(self) -> int:
        """How many slots are taken."""
        return (await self._gauge(BUSY))[0]

    async def waiting(self) -> int:
        """How many requests wait for a slot."""
        return (await self._gauge(WAITING))[0]

    async def until_busy(self, count: int) -> None:
        """Wait until no more than so many slots are taken."""
        await self._until(BUSY, lambda busy: busy <= count)

    async def until_waiting(self, count: int) -> None:
        """Wait until so many requests wait for a slot."""
        await self._until(WAITING, lambda waiting: waiting >= count)

    @contextlib.asynccontextmanager
    async def all_slots_taken(self) -> AsyncGenerator[int, None]:
        """Fill every slot and as many places again; give how many requests wait behind."""
        _, slots = await self._gauge(BUSY)
        fillers = [asyncio.create_task(self._fill()) for _ in range(2 * slots)]
        try:
            await self.until_waiting(slots)
            yield slots
        finally:
            for filler in fillers:
                filler.cancel()
            await asyncio.gather(*fillers, return_exceptions=True)

    async def _fill(self) -> None:
        """Ask for one long text after another."""
        asked = GenerationRequest(
            model=MODEL,
            prompt=LONG,
            sampling=Sampling(max_tokens=900, min_tokens=900, stream_interval_ms=200),
        )
        while True:
            async with contextlib.aclosing(self.triton.stream(asked)) as chunks:
                async for _ in chunks:
                    pass

    async def _until(self, name: str, reached: Callable[[int], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reached((await self._gauge(name))[0]):  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(PAUSE_SECONDS)

    async def _gauge(self, name: str) -> tuple[int, int]:
        """A figure of the model, and its slots."""
        async with self.http.get(self.metrics) as answer:
            lines = (await answer.text()).splitlines()
        line = next(one for one in lines if one.startswith(name + "{") and f'model="{MODEL}"' in one)
        slots = line.partition('slots="')[2].partition('"')[0]
        return int(float(line.rpartition(" ")[2])), int(slots)


async def found(stack: Stack, tenant: str, edge: Edge, model: Model) -> list[str]:
    """Wait until nothing is left of a tenant's turns; give what stays."""
    until = time.monotonic() + PATIENCE_SECONDS
    async with Link.open(turnlogs.redis_url(stack)) as link:
        while True:
            left = [
                *await _in_model(model),
                *await _in_redis(link, tenant, await _turns(edge)),
                *await _in_processes(stack),
            ]
            if not left or time.monotonic() > until:
                return [f"left over: {one}" for one in left]
            await asyncio.sleep(0.5)


async def _in_model(model: Model) -> list[str]:
    busy, waiting = await model.busy(), await model.waiting()
    return [f"{busy} slots taken, {waiting} requests waiting"] if busy or waiting else []


async def _in_redis(link: Link, tenant: str, turns: set[str]) -> list[str]:
    left = []
    own = f"{tenant}:".encode()
    for key in await _keys(link, "turnlog:load:*"):
        members = await link.call("ZRANGE", key, 0, -1)
        left += [f"{one.decode()} holds a place in {key}" for one in members if one.startswith(own)]
    leases = await link.call("ZRANGE", "turnlog:leases", 0, -1)
    left += [f"{one.decode()} is leased" for one in leases if one.startswith(own)]
    for key in await _keys(link, f"turnlog:{tenant}:*"):
        turn = key.split(":")[2]
        if turn not in turns:
            left.append(f"{key} is of no turn that exists")
        if await link.call("TTL", key) == -1:
            left.append(f"{key} never expires")
    return left


async def _keys(link: Link, pattern: str) -> list[str]:
    return [key.decode() for key in await link.call("KEYS", pattern)]


async def _turns(edge: Edge) -> set[str]:
    """Every turn of the user, by the edge's own lists."""
    turns: set[str] = set()
    page = ""
    while True:
        listed = (await edge.get(f"/v1/sessions?page_size=100&page_token={page}")).body
        for session in listed.get("sessions", []):
            own = (await edge.get(f"/v1/sessions/{session['id']}/turns?page_size=100")).body
            turns |= {turn["id"] for turn in own.get("turns", [])}
        page = listed.get("next_page_token", "")
        if not page:
            return turns


async def _in_processes(stack: Stack) -> list[str]:
    """Calls of turns that still run; nobody else asks for any meanwhile."""
    port = stack.settings.ports.of("xds")
    async with mesh_channel(stack.settings, "operator", "xds", port) as channel:
        stub = service_pb2_grpc.ControlPlaneStub(channel)
        status = await stub.GetMeshStatus(service_pb2.GetMeshStatusRequest(), timeout=CALL_SECONDS)
    return [
        f"{one.process} still runs {call.in_flight} of {call.method}"
        for one in status.processes
        for call in one.calls
        if call.in_flight and call.method.startswith(STREAMING)
    ]
