"""What a user waits for, one call at a time, against the edge's own answer to a health check.

`python -m tests.bench.edge` prints rows `{name, unit, ours, baseline, ratio, spread}` as JSON. The baseline
of every row is `GET /healthz` in the same round: Envoy, gateway and back, with nothing to do.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aiohttp

from mesh.runtime import eventloop
from mesh.stack.client_file import ClientFile
from mesh.stack.settings import StackSettings
from tests.support.edge import LONG, Edge

ROUNDS = 5
A_ROUND = 30
QUESTION = "What does the {} worker do when a process dies?"
Call = Callable[[int], Awaitable[float]]


async def timed(work: Awaitable[Any]) -> float:
    """Milliseconds until the answer."""
    begin = time.perf_counter()
    await work
    return (time.perf_counter() - begin) * 1000


async def first_delta(edge: Edge, persona: str, text: str, **options: Any) -> float:
    """Milliseconds until the first text of a session's first turn; the rest is read to its end."""
    session = await edge.session(persona)
    body = {"input": {"text": text}, "request_id": uuid.uuid4().hex, "options": options}
    begin, first = time.perf_counter(), 0.0
    async for event in edge.events("POST", f"/v1/sessions/{session}/turns:stream", body):
        if "delta" in event and not first:
            first = (time.perf_counter() - begin) * 1000
        if "failed" in event or "refused" in event:
            raise RuntimeError(f"the turn did not run: {event}")
    return first


def calls(edge: Edge) -> dict[str, Call]:
    """What is measured, by name."""
    return {
        "create a session": lambda _n: timed(edge.post("/v1/sessions", {"persona": "guide"})),
        "first text of guide, with recall": lambda n: first_delta(edge, "guide", QUESTION.format(n)),
        "first text of the generative model, with recall": lambda n: first_delta(
            edge, "bootstrap", f"{LONG} {n}", max_tokens=16, recall=True
        ),
        "first text of the generative model, without recall": lambda n: first_delta(
            edge, "bootstrap", f"{LONG} {n}", max_tokens=16, recall=False
        ),
        "retrieve 5 passages": lambda n: timed(
            edge.post("/v1/documents:retrieve", {"query": QUESTION.format(n), "limit": 5})
        ),
        "recall 5 memories": lambda n: timed(
            edge.post("/v1/memories:recall", {"query": QUESTION.format(n), "limit": 5})
        ),
    }


def percentile(values: list[float], part: int) -> float:
    """The value below which so many of a hundred lie."""
    return statistics.quantiles(values, n=100)[part - 1]


def rows(name: str, ours: list[list[float]], base: list[list[float]]) -> Iterator[dict[str, Any]]:
    """The rows of one call: p50 and p95 over all rounds."""
    for part, words in ((50, "p50"), (95, "p95")):
        ratios = [percentile(a, part) / percentile(b, part) for a, b in zip(ours, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        mine, theirs = (percentile([v for one in both for v in one], part) for both in (ours, base))
        yield {"name": f"{name}, {words}, against a health check", "unit": "ms", "ours": round(mine, 2),
               "baseline": round(theirs, 2), "ratio": round(mine / theirs, 3),
               "spread": round((high - low) / middle, 3)}  # fmt: skip


async def measure(edge: Edge) -> list[dict[str, Any]]:
    """Interleave the calls with health checks, after a round that warms everything up."""
    found: list[dict[str, Any]] = []
    number = int(time.time()) % 100_000 * 1000
    for name, call in calls(edge).items():
        ours: list[list[float]] = []
        base: list[list[float]] = []
        for round_ in range(ROUNDS + 1):
            mine, theirs = [], []
            for _ in range(A_ROUND):
                number += 1
                mine.append(await call(number))
                theirs.append(await timed(edge.get("/healthz")))
            if round_:
                ours.append(mine)
                base.append(theirs)
        found += rows(name, ours, base)
    return found


async def main() -> None:
    """Print the rows."""
    settings = StackSettings.from_environment(os.environ)
    client = ClientFile.read(settings.home.client)
    if client is None:
        sys.exit("there is no client.json: run `make up` first")
    async with aiohttp.ClientSession() as http:
        found = await measure(Edge(http, url=client.edge_url, key=client.api_key))
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    eventloop.run(main())
