"""Idle streams: how many are held, what each costs over all processes, and whether pings come.

`python -m tests.bench.idle` prints rows as JSON (see `tests/bench/rows.py`), on a running stack. An idle
stream is one whose turn waits for its model: the bench stops `worker-slm`, starts a hundred turns, and
opens every further stream as a reader of one of them (`:stream?from_seq=0`), over gRPC on a few
connections and over SSE, a connection each. Each has had its `accepted` when it counts as open. At the
end the worker comes back and the turns go on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import itertools
import resource
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import grpc.aio

from mesh.runtime import eventloop
from tests.bench.driver import come_back_after
from tests.bench.rows import Bound, Row, emit, shares, single
from tests.bench.target import Target
from tests.bench.usage import Watched
from tests.support.stack import soma
from tests.support.wires import Client, Event, connect

STREAMS: Final = 5_000
OVER_SSE: Final = 0.3
TURNS: Final = 100
CONNECTIONS: Final = 8
AT_ONCE: Final = 64
PING_SECONDS: Final = 15.0
WORKER: Final = "worker-slm"
KIB: Final = 1024
QUESTION: Final = "Tell me more"
Opener = Callable[[], AsyncGenerator[Event, None]]


@dataclass(slots=True)
class Held:
    """Streams that are open."""

    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    opened: int = 0
    ended: int = 0
    pinged: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    async def open(self, streams: Sequence[Opener], *, seconds: float) -> None:
        """Open streams, some at once; return when each has had its first event or ended."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def first(opener: Opener) -> None:
            async with gate:
                try:
                    stream = await _begun(opener)
                except Exception as error:  # noqa: BLE001  (a stream that cannot be held is the finding)
                    self.errors.append(f"{type(error).__name__}: {error}"[:300])
                else:
                    self.keep(stream)

        async with asyncio.timeout(seconds):
            await asyncio.gather(*map(first, streams))

    def keep(self, stream: AsyncGenerator[Event, None]) -> None:
        """Go on reading a stream that has had its first event."""
        self.tasks.append(asyncio.create_task(self._read(stream, len(self.tasks))))
        self.opened += 1

    async def _read(self, stream: AsyncGenerator[Event, None], number: int) -> None:
        try:
            async with contextlib.aclosing(stream):
                async for event in stream:
                    if event.kind == "ping":
                        self.pinged.add(number)
        except Exception as error:  # noqa: BLE001  (as above)
            self.errors.append(f"{type(error).__name__}: {error}"[:300])
        finally:
            self.ended += 1

    async def close(self) -> None:
        """Close all."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def _begun(opener: Opener) -> AsyncGenerator[Event, None]:
    """Open a stream and read its first event; come back where the edge asks to (its rate limit)."""
    while True:
        stream = opener()
        try:
            await anext(stream)
        except (grpc.aio.AioRpcError, aiohttp.ClientError) as error:
            if (seconds := come_back_after(error)) is None:
                raise
            await asyncio.sleep(seconds)
        else:
            return stream


async def waiting_turns(client: Client, held: Held, count: int) -> list[tuple[str, str]]:
    """Start turns whose model does not come, and hold their streams; give their sessions and ids."""

    async def start() -> tuple[str, str]:
        session = await client.create_session("bootstrap")
        stream = client.stream(
            session, "Tell me more", request_id=uuid.uuid4().hex, recall=False, max_tokens=8
        )
        accepted = await anext(stream)
        held.keep(stream)
        return session, accepted.turn_id

    return list(await asyncio.gather(*(start() for _ in range(count))))


async def grow(
    watched: Watched, held: Held, clients: Sequence[Client], turns: Sequence[tuple[str, str]], *, count: int
) -> tuple[dict[str, float], float]:
    """Open so many more; give KiB a stream by process, and streams opened a second."""
    before, opened, begin = watched.memory(), held.opened, time.perf_counter()
    places = zip(itertools.cycle(clients), itertools.cycle(turns), strict=False)
    streams = [
        functools.partial(client.resume, session, turn, 0)
        for client, (session, turn) in itertools.islice(places, count)
    ]
    await held.open(streams, seconds=60 + count / 50)
    seconds = time.perf_counter() - begin
    made = held.opened - opened
    if not made:
        raise RuntimeError(f"no stream could be opened: {held.errors[:3]}")
    after = watched.memory()
    return {name: (after[name] - before.get(name, 0)) / KIB / made for name in after}, made / seconds


async def rest(watched: Watched, seconds: float) -> dict[str, float]:
    """Give the cores that each process uses while nothing is asked."""
    before, begin = watched.usage(), time.perf_counter()
    await asyncio.sleep(seconds)
    passed = time.perf_counter() - begin
    return {name: used / passed for name, used in watched.usage().since(before).items()}


async def measure(target: Target, *, streams: int, turns: int, seconds: float) -> list[Row]:
    """Hold streams and look at what they cost."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20_000)), hard))
    over_sse = int(streams * OVER_SSE)
    held = Held()
    async with contextlib.AsyncExitStack() as stack:
        several = [await stack.enter_async_context(connect(over_grpc=True)) for _ in range(CONNECTIONS)]
        sse = await stack.enter_async_context(connect(over_grpc=False))
        stack.push_async_callback(held.close)
        await soma(target.settings, "down", WORKER)
        stack.push_async_callback(soma, target.settings, "up")
        watched = await target.watched()
        quiet = await rest(watched, seconds / 2)
        waiting = await waiting_turns(several[0], held, turns)
        first, pace = await grow(watched, held, several, waiting, count=streams - over_sse - turns)
        second, sse_pace = await grow(watched, held, [sse], waiting, count=over_sse)
        held.pinged.clear()
        busy = await rest(watched, max(seconds, PING_SECONDS + 5))
        return _rows(held, {"gRPC": (first, pace), "SSE": (second, sse_pace)}, quiet, busy)


def _rows(
    held: Held,
    kinds: dict[str, tuple[dict[str, float], float]],
    quiet: dict[str, float],
    busy: dict[str, float],
) -> list[Row]:
    open_now = len(held.tasks) - held.ended
    note = f"{held.ended} ended, errors {sorted(set(held.errors))[:3]}"
    found = [
        single("idle streams held", "streams", [float(open_now)],
               bound=Bound(STREAMS, least=True), note=note),
        single("idle streams that had a ping", "share", [len(held.pinged) / max(1, open_now)],
               bound=Bound(1.0, least=True)),
    ]  # fmt: skip
    for kind, (each, pace) in kinds.items():
        whole = sum(each.values())
        found.append(
            single(f"memory of an idle stream over {kind}, all processes", "KiB", [whole], bound=Bound(100.0),
                   note=f"opened {pace:.0f} a second")
        )  # fmt: skip
        name = f"memory of an idle stream over {kind}"
        found += shares(name, "KiB", {key: value for key, value in each.items() if value >= 0.1})
    added = {name: 1e3 * max(0.0, busy[name] - quiet.get(name, 0.0)) for name in busy}
    added = {name: 1e3 * cost / max(1, open_now) for name, cost in added.items()}
    return found + shares("CPU of an idle stream in a second", "us", added)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=STREAMS + 50)
    parser.add_argument("--turns", type=int, default=TURNS, help="that the streams read")
    parser.add_argument("--seconds", type=float, default=30.0, help="over which CPU is read")
    given = parser.parse_args()
    target = Target.here()
    emit(eventloop.run(measure(target, streams=given.streams, turns=given.turns, seconds=given.seconds)))


if __name__ == "__main__":
    main()
