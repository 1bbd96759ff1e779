"""Floods of HTTP/2 frames on one connection: the edge ends it or serves on, and others are served.

None of them needs a token. Envoy bounds each of them; that the bounds are in force is what is shown
here, on the listener that everybody uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest
from hyperframe.frame import Frame

from tests.attacks.exhaustion import wire as attack
from tests.attacks.exhaustion.wire import Wire, connected
from tests.attacks.steadiness import Steadiness
from tests.support.edge import Edge
from tests.support.stack import Stack

FRAMES = 20_000
REFUSED_STREAM = 7
MEMORY = 256 * 1024 * 1024

ENDED: dict[str, Callable[[Wire], Iterable[Frame]]] = {
    "rapid reset": lambda wire: attack.resets(wire, FRAMES, "/v1/sessions", ""),
    "continuations": lambda wire: attack.continuations(wire, FRAMES // 8),
    "empty data": lambda wire: attack.empties(wire, FRAMES),
    "windows": lambda wire: attack.windows(wire, FRAMES),
}
SERVED_OR_ENDED: dict[str, Callable[[Wire], Iterable[Frame]]] = {
    "header bombs": lambda wire: attack.bombs(wire, 200),
    "pings": lambda wire: attack.pings(FRAMES),
    "settings": lambda wire: attack.settings(FRAMES),
}


async def _others_are_served(edge: Edge) -> None:
    for _ in range(10):
        assert (await edge.get("/v1/sessions?page_size=1")).status == 200


async def _flood(stack: Stack, edge: Edge, frames: Callable[[Wire], Iterable[Frame]], *, ends: bool) -> None:
    before = await Steadiness.of(stack)
    async with connected(stack.edge_url) as wire, asyncio.TaskGroup() as group:
        group.create_task(wire.send(frames(wire)))
        group.create_task(_others_are_served(edge))
        if ends:
            await wire.gone()
    await _others_are_served(edge)
    await before.check(growth=MEMORY)


@pytest.mark.parametrize("name", ENDED)
async def test_a_flood_ends_its_connection_and_nothing_else(stack: Stack, edge: Edge, name: str) -> None:
    await _flood(stack, edge, ENDED[name], ends=True)


@pytest.mark.parametrize("name", SERVED_OR_ENDED)
async def test_a_flood_is_answered_refused_or_ended(stack: Stack, edge: Edge, name: str) -> None:
    await _flood(stack, edge, SERVED_OR_ENDED[name], ends=False)


async def test_resets_of_real_calls_end_the_connection_too(stack: Stack, edge: Edge) -> None:
    """With a token each of them would reach a service."""
    await _flood(stack, edge, lambda wire: attack.resets(wire, FRAMES, "/v1/sessions", edge.key), ends=True)


async def test_answers_that_nobody_reads_are_bounded(stack: Stack, edge: Edge) -> None:
    """A window of zero: the edge may not gather every answer in memory."""
    before = await Steadiness.of(stack)
    async with connected(stack.edge_url, settings={4: 0}) as wire:
        await wire.send(attack.opened(wire, ["/openapi.json"] * 1000, ""))
        await _others_are_served(edge)
        await before.check(growth=MEMORY)
    await _others_are_served(edge)


async def test_streams_beyond_the_bound_of_a_connection_are_refused(stack: Stack, edge: Edge) -> None:
    before = await Steadiness.of(stack)
    async with connected(stack.edge_url) as wire:
        await wire.send(attack.opened(wire, ["/v1/tokens"] * 4200, "", end=False, verb="POST"))
        await _others_are_served(edge)
        while not wire.closed.is_set() and not wire.refused(REFUSED_STREAM):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.05)
    await _others_are_served(edge)
    await before.check(growth=MEMORY)
