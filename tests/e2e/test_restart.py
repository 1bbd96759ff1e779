"""A process is restarted under load, without a successor: who calls meanwhile is told to try again."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter

import pytest

from tests.support.edge import Edge
from tests.support.stack import Stack, soma

LANES = 40


@pytest.mark.parametrize("process", ["orchestrator", "gateway"])
async def test_a_call_that_meets_a_restart_is_unavailable_or_well(
    edge: Edge, stack: Stack, process: str
) -> None:
    """GRPC's core answers calls that come as a server shuts down with CANCELLED; nobody is to see it."""
    statuses: Counter[int] = Counter()
    over = False

    async def lane() -> None:
        while not over:
            body = {"persona": "bootstrap", "request_id": uuid.uuid4().hex}
            statuses[(await edge.post("/v1/sessions", body)).status] += 1

    lanes = [asyncio.create_task(lane()) for _ in range(LANES)]
    try:
        await asyncio.sleep(1.0)
        await soma(stack.settings, "restart", process)
        await stack.ready()
    finally:
        over = True
        await asyncio.gather(*lanes)
    assert statuses[201] > LANES
    assert statuses.keys() <= {201, 429, 503}, statuses
