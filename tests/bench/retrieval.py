"""How long a query takes at 10,000 passages, its embedding included, against the embedding alone.

`python -m tests.bench.retrieval` prints rows `{name, unit, ours, baseline, ratio, spread}` as JSON. It
needs a running stack (`SOMA_TEST_HOME`, or `SOMA_HOME` with `SOMA_PORT_BASE`) and fills a tenant of its
own there once, through the real ingestion: the first paragraphs of the docstrings of this machine's
Python packages, each under the name of what it tells of. `ours` and `baseline` are milliseconds; the
baseline embeds the same kind of query by the same Triton, call by call between ours; `spread` is the
distance between the quartiles of the rounds' ratios divided by their median.
"""

from __future__ import annotations

import ast
import json
import statistics
import sys
import sysconfig
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import uvloop

from services.memory.ingestion import Given
from tests.integration.memory.parts import Parts, memory_settings, opened, request, tenant

PASSAGES: Final = 10_000
A_DOCUMENT: Final = 500
ROUNDS: Final = 6
A_ROUND: Final = 50
OWNER: Final = "bench-retrieval"
_SHORTEST, _LONGEST = 40, 400


def docstrings() -> Iterator[tuple[str, str]]:
    """Give names and first paragraphs, in an order that does not change on one machine."""
    paths = sysconfig.get_paths()
    for root in (Path(paths["stdlib"]), Path(paths["purelib"])):
        for file in sorted(root.rglob("*.py")):
            if "test" in file.as_posix():
                continue
            try:
                tree = ast.parse(file.read_bytes())
            except (SyntaxError, ValueError, RecursionError):
                continue
            module = ".".join(file.relative_to(root).with_suffix("").parts)
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    told = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                    if _SHORTEST <= len(told) <= _LONGEST:
                        yield f"{module}.{node.name}", told


async def fill(parts: Parts, told: Iterator[tuple[str, str]]) -> int:
    """Ingest until there are enough passages; give how many there are."""
    size = sum(one.passage_count for one in (await parts.ingestion.page(size=1000, token="")).documents)
    number = 0
    while size < PASSAGES:
        number += 1
        sections = [f"## {name}\n\n{text}\n" for name, text in (next(told) for _ in range(A_DOCUMENT))]
        given = Given(
            title=f"Docstrings {number}",
            source=f"bench/docstrings-{number}.md",
            media_type="text/markdown",
            content="\n".join(sections).encode(),
            labels={},
        )
        begin = time.perf_counter()
        size += (await parts.ingestion.ingest(given, request=request())).passage_count
        sys.stderr.write(f"{size} passages, the last 500 in {time.perf_counter() - begin:.1f} s\n")
    return size


async def milliseconds(call: Callable[[str], Awaitable[object]], query: str) -> float:
    """Give the time of one call."""
    begin = time.perf_counter()
    await call(query)
    return (time.perf_counter() - begin) * 1e3


def quantile(values: list[float], part: float) -> float:
    """Give the value below which that part lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def rows(name: str, ours: list[list[float]], baseline: list[list[float]]) -> Iterator[dict[str, Any]]:
    """Give the rows of one kind of call, by rounds."""
    for part, words in ((0.5, "p50"), (0.95, "p95")):
        pairs = [(quantile(a, part), quantile(b, part)) for a, b in zip(ours, baseline, strict=True)]
        ratios = [a / b for a, b in pairs]
        low, _, high = statistics.quantiles(ratios, n=4)
        all_ours = quantile([one for a in ours for one in a], part)
        all_base = quantile([one for b in baseline for one in b], part)
        yield {
            "name": f"{name}, {words}, against the embedding alone",
            "unit": "ms",
            "ours": round(all_ours, 2),
            "baseline": round(all_base, 2),
            "ratio": round(all_ours / all_base, 3),
            "spread": round((high - low) / statistics.median(ratios), 3),
        }


async def measure(parts: Parts) -> list[dict[str, Any]]:
    """Measure both kinds of call."""
    told = docstrings()
    size = await fill(parts, told)
    queries = (f"How does it {' '.join(text.split()[:9]).lower()}?" for _, text in told)
    calls: dict[str, Callable[[str], Awaitable[object]]] = {
        f"retrieve 5 of {size} passages": lambda query: parts.retrieval.retrieve(
            query, limit=5, labels={}, document_ids=[]
        ),
        f"consult 5 memories and 5 of {size} passages": lambda query: parts.retrieval.consult(
            query, memories=5, passages=5
        ),
    }
    embed = lambda query: parts.embedder.embed([query])  # noqa: E731 (one of the calls that are timed)
    found: list[dict[str, Any]] = []
    for name, call in calls.items():
        ours: list[list[float]] = []
        baseline: list[list[float]] = []
        for number in range(ROUNDS + 1):
            mine, bare = [], []
            for _ in range(A_ROUND):
                mine.append(await milliseconds(call, next(queries)))
                bare.append(await milliseconds(embed, next(queries)))
            if number:  # the first round warms up
                ours.append(mine)
                baseline.append(bare)
        found += rows(name, ours, baseline)
    return found


async def main() -> None:
    """Print the rows."""
    async with opened(memory_settings()) as parts:
        with tenant(OWNER):
            sys.stdout.write(json.dumps(await measure(parts), indent=2) + "\n")


if __name__ == "__main__":
    uvloop.run(main())  # as the service does
