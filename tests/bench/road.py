"""The road of a turn against Triton driven directly with the very same prompts.

`python -m tests.bench.road` prints rows as JSON (see `tests/bench/rows.py`), on a running stack. Rounds
are interleaved: a round of turns through the edge, then Triton alone with the prompts, sampling and
concurrency of that round, as the orchestrator's outbox holds them, recalled passages included. Answers
have exactly 64 or 384 tokens (`min_tokens` = `max_tokens`). CPU is of all processes of the stack.

A client that is refused because the queue is full comes again when the server asks it to (Triton does not
say when: after a second). Where the streams exceed the admission bound, one more client asks ten times
a second, and goes away where it is let in: how long it waits to be refused is a row of its own, and so
is how long those waited who began all at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import grpc.aio
from soma.slm.v1 import events_pb2

from mesh.inference.ports import GenerationRequest, Sampling
from mesh.inference.triton import Triton
from mesh.runtime import eventloop
from mesh.runtime.errors import ResourceExhausted
from tests.bench.driver import Journal, check, come_back_after, follow
from tests.bench.rows import Bound, Row, emit, paired, quantile, shares, single
from tests.bench.target import Target
from tests.bench.usage import Watched, per
from tests.support.wires import Client, connect

QUESTION: Final = "How does the package manager decide which version of a library it installs, case {}?"
PERSONA: Final = "bootstrap"
CLIENT: Final = "bench client"
REFUSED_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 0.1
BEYOND: Final = 200  # streams that are more than the queue of the model takes
FEW: Final = 8  # streams up to which the worker lets the model send often; as workers/slm does
# streams: turns of a round, by tokens of an answer
LOADS: Final[Mapping[int, Mapping[int, int]]] = {
    64: {1: 30, 10: 60, 50: 150, 100: 300, 200: 400},
    384: {1: 8, 10: 20, 50: 60, 100: 100, 200: 200},
}
THROUGHPUT: Final = Bound(0.90, of="ratio", least=True)
ADDED_MS: Final = Bound(30.0)
FIRST_AT_100: Final = Bound(1.15, of="ratio")
REFUSAL_MS: Final = Bound(50.0)


@dataclass(frozen=True, slots=True)
class Load:
    """What a round does."""

    streams: int
    turns: int
    tokens: int
    recall: bool

    @property
    def name(self) -> str:
        """As the table calls it."""
        return f"{self.streams} streams, {self.tokens} tokens, {'with' if self.recall else 'without'} recall"


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one side: milliseconds to the first text, and answers' tokens a second."""

    firsts: Sequence[float]
    rate: float
    refusals: Sequence[float] = ()
    probed: Sequence[float] = ()
    cpu: Mapping[str, float] = field(default_factory=dict)


async def road(client: Client, watched: Watched, load: Load, *, number: int) -> tuple[Round, list[Journal]]:
    """Run turns through everything."""
    sessions = await asyncio.gather(*(client.create_session(PERSONA) for _ in range(load.turns)))
    waiting = iter(enumerate(sessions))
    journals: list[Journal] = []

    async def lane() -> None:
        for place, session in waiting:
            text = QUESTION.format(f"{number}-{place}")
            options: dict[str, Any] = {
                "max_tokens": load.tokens,
                "min_tokens": load.tokens,
                "temperature": 0.0,
            }
            journals.append(await follow(client, session, text, recall=load.recall, patience=300, **options))

    before, own, begin = watched.usage(), time.process_time(), time.perf_counter()
    lanes = asyncio.gather(*(lane() for _ in range(load.streams)))
    probed = await probe(client, lanes) if load.streams >= BEYOND else ()
    await lanes
    seconds = time.perf_counter() - begin
    used = per(watched.usage().since(before) | {CLIENT: time.process_time() - own}, load.turns)
    if damage := await check(client, journals):
        raise RuntimeError(f"streams were damaged: {damage}")
    firsts = [(one.first_delta - one.asked) * 1000 for one in journals]
    refusals = [1000 * one for journal in journals for one in journal.refusals]
    return Round(firsts, load.turns * load.tokens / seconds, refusals, probed, used), journals


async def probe(client: Client, running: asyncio.Future[Any]) -> list[float]:
    """Ask again and again while a load runs; give the milliseconds after which it was refused."""
    session = await client.create_session(PERSONA)
    refused: list[float] = []
    while not running.done():
        await asyncio.sleep(PROBE_SECONDS)
        begin = time.perf_counter()
        stream = client.stream(session, "And me?", request_id=uuid.uuid4().hex, recall=False, max_tokens=8)
        try:
            async with contextlib.aclosing(stream):
                await anext(stream)
        except (grpc.aio.AioRpcError, aiohttp.ClientError) as error:
            if come_back_after(error) is None:
                raise
            refused.append((time.perf_counter() - begin) * 1000)
    return refused


async def direct(
    triton: Triton, watched: Watched, asked: Sequence[events_pb2.GenerationRequest], *, streams: int
) -> Round:
    """Ask Triton for the same, gathered in the same way."""
    waiting = iter(asked)
    firsts: list[float] = []
    tokens = 0

    async def lane() -> None:
        nonlocal tokens
        for one in waiting:
            firsts.append(await _answered(triton, _request(one, streams)) * 1000)
            tokens += one.sampling.max_tokens

    before, begin = watched.usage(), time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(streams)))
    seconds = time.perf_counter() - begin
    return Round(firsts, tokens / seconds, cpu=per(watched.usage().since(before), len(asked)))


async def _answered(triton: Triton, request: GenerationRequest) -> float:
    """Read an answer to its end; give the seconds to its first text, refusals included."""
    begin, first = time.perf_counter(), 0.0
    while True:
        try:
            async for chunk in triton.stream(request):
                if chunk.text and not first:
                    first = time.perf_counter() - begin
        except ResourceExhausted:
            await asyncio.sleep(REFUSED_SECONDS)
        else:
            return first


def _request(asked: events_pb2.GenerationRequest, streams: int) -> GenerationRequest:
    given = asked.sampling
    sampling = Sampling(
        max_tokens=given.max_tokens,
        min_tokens=given.min_tokens,
        temperature=given.temperature,
        stop=tuple(given.stop),
        stream_interval_ms=30 if streams <= FEW else 100,  # as workers/slm/config.py
    )
    return GenerationRequest(model=asked.model.provider_model, prompt=asked.prompt, sampling=sampling)


def rows(load: Load, ours: Sequence[Round], theirs: Sequence[Round]) -> list[Row]:
    """Sum the rounds of a load up."""
    name = f"road against bare Triton, {load.name}"
    found = [
        paired(f"{name}: throughput", "tokens/s", [o.rate for o in ours], [t.rate for t in theirs],
               bound=THROUGHPUT)
    ]  # fmt: skip
    for share, words in ((0.5, "p50"), (0.95, "p95")):
        mine = [quantile(one.firsts, share) for one in ours]
        base = [quantile(one.firsts, share) for one in theirs]
        bound = FIRST_AT_100 if load.streams == 100 and words == "p95" else None
        found.append(paired(f"{name}: first text {words}", "ms", mine, base, bound=bound))
        if load.streams == 1:
            added = [a - b for a, b in zip(mine, base, strict=True)]
            limit = ADDED_MS if load.recall and words == "p95" else None
            row = single(f"{name}: added to the first text {words}", "ms", added, bound=limit,
                         beside=statistics.median(base))  # fmt: skip
            found.append(row)
    probed = [one for round_ in ours for one in round_.probed]
    if probed:
        found.append(
            single(f"{name}: refusal past the admission bound, p95", "ms", [quantile(probed, 0.95)],
                   bound=REFUSAL_MS, note=f"{len(probed)} refusals, median {quantile(probed, 0.5):.0f} ms")
        )  # fmt: skip
    refusals = [one for round_ in ours for one in round_.refusals]
    if refusals:
        found.append(
            single(f"{name}: refusal of those who began at once, p95", "ms", [quantile(refusals, 0.95)],
                   note=f"{len(refusals)} refusals, median {quantile(refusals, 0.5):.0f} ms")
        )  # fmt: skip
    mean = {key: statistics.mean(one.cpu.get(key, 0.0) for one in ours) for key in ours[0].cpu}
    found += shares(f"CPU of a turn, {load.name}", "ms", {k: v for k, v in mean.items() if v >= 0.05})
    return found


async def measure(target: Target, loads: Sequence[Load], *, rounds: int, grpc: bool) -> list[Row]:
    """Interleave rounds and make the table."""
    found: list[Row] = []
    watched = await target.watched()
    async with connect(over_grpc=grpc) as client, Triton.open(target.triton) as triton:
        warm: set[int] = set()
        for load in loads:
            ours: list[Round] = []
            theirs: list[Round] = []
            begin = 0 if load.tokens in warm else -1  # one round warms connections and caches up
            warm.add(load.tokens)
            for number in range(begin, rounds):
                round_, journals = await road(client, watched, load, number=number + len(found) * 100)
                asked = await target.prompts([one.turn_id for one in journals])
                bare = await direct(triton, watched, list(asked.values()), streams=load.streams)
                if number >= 0:
                    ours.append(round_)
                    theirs.append(bare)
            found += rows(load, ours, theirs)
    return found


def loads(*, tokens: Sequence[int], streams: Sequence[int], share: float) -> list[Load]:
    """Give the loads of the table: all without recall; one stream with it too, and 100 of short answers."""
    found = []
    for size in tokens:
        for wide in streams:
            turns = max(wide, 2, int(LOADS[size][wide] * share))
            if wide == 1 or (wide == 100 and size == min(LOADS)):
                found.append(Load(wide, turns, size, recall=True))
            found.append(Load(wide, turns, size, recall=False))
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, nargs="+", default=list(LOADS), choices=list(LOADS))
    parser.add_argument("--streams", type=int, nargs="+", default=list(LOADS[64]), choices=list(LOADS[64]))
    parser.add_argument("--share", type=float, default=1.0, help="of each round's turns")
    parser.add_argument("--grpc", action="store_true", help="gRPC over TLS instead of SSE")
    given = parser.parse_args()
    wanted = loads(tokens=given.tokens, streams=given.streams, share=given.share)
    emit(eventloop.run(measure(Target.here(), wanted, rounds=given.rounds, grpc=given.grpc)))


if __name__ == "__main__":
    main()
