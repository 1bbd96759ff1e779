"""The road of a turn against Triton driven directly with the same prompts.

`python -m tests.bench.road` prints rows `{name, unit, ours, baseline, ratio, spread}` as JSON, on the
stack of $SOMA_HOME (`make up` first). Rounds are interleaved: a round of the road, then the same of
Triton alone. `ours` and `baseline` are medians over the rounds; `ratio` is ours / baseline; `spread`
is the distance between the quartiles of the rounds' ratios divided by their median.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from mesh.inference.ports import GenerationRequest, Sampling
from mesh.inference.triton import Triton
from mesh.stack.client_file import VARIABLES, ClientFile
from mesh.stack.settings import StackSettings
from services.orchestrator.domain.conversation import Said
from services.orchestrator.domain.prompt import STOP, generation
from tests.bench.driver import Client, connect, drive, quantile

QUESTION: Final = "How does the package manager decide which version of a library it installs, case {}?"
TOKENS: Final = 64
MODEL: Final = "slm"


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one side: milliseconds to the first text, and characters a second."""

    first_p50: float
    first_p95: float
    rate: float


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    name: str
    unit: str
    ours: float
    baseline: float
    ratio: float
    spread: float

    @classmethod
    def of(cls, name: str, unit: str, ours: Sequence[float], baseline: Sequence[float]) -> "Row":
        """Sum rounds up."""
        ratios = [a / b for a, b in zip(ours, baseline, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        return cls(
            name, unit, round(statistics.median(ours), 2), round(statistics.median(baseline), 2),
            round(middle, 3), round((high - low) / middle, 3),
        )  # fmt: skip


async def road(client: Client, *, streams: int, turns: int, number: int) -> Round:
    """Run turns through everything."""
    texts = [QUESTION.format(f"{number}-{place}") for place in range(turns)]
    report = await drive(
        client, streams=streams, turns=turns, persona="bootstrap", texts=texts,
        max_tokens=TOKENS, temperature=0.0,
    )  # fmt: skip
    if report.damage:
        raise RuntimeError(f"streams were damaged: {report.damage}")
    firsts = [(j.first_delta - j.asked) * 1000 for j in report.journals]
    rate = sum(len(j.text) for j in report.journals) / report.seconds
    return Round(quantile(firsts, 0.5), quantile(firsts, 0.95), rate)


async def direct(triton: Triton, *, streams: int, turns: int, number: int) -> Round:
    """Ask Triton for the same, gathered in the same way."""
    numbers = iter(range(turns))
    firsts: list[float] = []
    characters = 0

    async def lane() -> None:
        nonlocal characters
        for place in numbers:
            start, first = time.perf_counter(), 0.0
            async for chunk in triton.stream(_request(QUESTION.format(f"{number}-{place}"), streams)):
                if chunk.text and not first:
                    first = time.perf_counter() - start
                characters += len(chunk.text)
            firsts.append(first * 1000)

    begin = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(streams)))
    seconds = time.perf_counter() - begin
    return Round(quantile(firsts, 0.5), quantile(firsts, 0.95), characters / seconds)


def _request(question: str, streams: int) -> GenerationRequest:
    history: tuple[Said, ...] = ()
    prompt = generation(
        instructions="", question=question, history=history, sources=(), window=1024,
        max_tokens=TOKENS, count=len,
    )  # fmt: skip
    interval = 30 if streams <= 8 else 60
    sampling = Sampling(max_tokens=TOKENS, stop=STOP, stream_interval_ms=interval)
    return GenerationRequest(model=MODEL, prompt=prompt.text, sampling=sampling)


async def measure(client: Client, triton: Triton, *, rounds: int) -> list[Row]:
    """Interleave rounds and make the table."""
    rows: list[Row] = []
    for streams, turns in ((1, 20), (16, 48), (100, 200)):
        ours, theirs = await _interleaved(
            lambda n, s=streams, t=turns: road(client, streams=s, turns=t, number=n),  # type: ignore[misc]
            lambda n, s=streams, t=turns: direct(triton, streams=s, turns=t, number=n),  # type: ignore[misc]
            rounds=rounds,
        )
        name = f"road against bare Triton, {streams} at once"
        for part, unit in (("first_p50", "ms"), ("first_p95", "ms"), ("rate", "characters/s")):
            label = {"first_p50": "first text p50", "first_p95": "first text p95", "rate": "throughput"}
            rows.append(
                Row.of(
                    f"{name}: {label[part]}", unit,
                    [getattr(one, part) for one in ours], [getattr(one, part) for one in theirs],
                )
            )  # fmt: skip
    return rows


async def _interleaved(
    ours: Callable[[int], Awaitable[Round]], theirs: Callable[[int], Awaitable[Round]], *, rounds: int
) -> tuple[list[Round], list[Round]]:
    await ours(-1)  # connections, statements and caches are warm on both sides
    await theirs(-1)
    left, right = [], []
    for number in range(rounds):
        left.append(await ours(number))
        right.append(await theirs(number))
    return left, right


async def _main(arguments: argparse.Namespace) -> None:
    settings = StackSettings.from_environment(os.environ)
    found = ClientFile.read(settings.home.root / "client.json")
    if found is None:
        sys.exit("there is no client.json: run `make up` first")
    for name, variable in VARIABLES.items():
        os.environ.setdefault(variable, getattr(found, name))
    target = settings.external.get("triton", settings.ports.address("triton"))
    async with connect(over_grpc=arguments.grpc) as client, Triton.open(target) as triton:
        rows = await measure(client, triton, rounds=arguments.rounds)
    json.dump([_json(row) for row in rows], sys.stdout, indent=2)
    print()


def _json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name, "unit": row.unit, "ours": row.ours, "baseline": row.baseline,
        "ratio": row.ratio, "spread": row.spread,
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--grpc", action="store_true", help="gRPC over TLS instead of SSE")
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
