"""Drives turns as clients do, over SSE or gRPC, keeps every frame, and checks what came.

`python -m tests.bench.driver --streams 20 --turns 100` drives the stack of `soma status -o env`
(SOMA_EDGE_URL, SOMA_API_KEY; `--grpc` uses SOMA_GRPC_TARGET and SOMA_CA_FILE) and prints one JSON
object. Exit code 1 where a stream was damaged: a gap or repeat in `seq`, no explicit end, or a
text that differs from the stored turn's.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import grpc
import grpc.aio

from tests.bench.rows import quantile
from tests.support.wires import Client, Event, connect

ENDS: Final = frozenset({"completed", "refused", "failed"})
_PAUSE_SECONDS: Final = 0.1


@dataclass(slots=True)
class Journal:
    """Every frame of one turn as a client saw it, over all its connections."""

    session_id: str
    asked: float = field(default_factory=time.perf_counter)
    events: list[Event] = field(default_factory=list)
    first_delta: float = 0.0
    ended: float = 0.0
    cuts: int = 0
    gaps: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    _last: float = 0.0

    @property
    def turn_id(self) -> str:
        """The turn, once it was accepted."""
        return next((event.turn_id for event in self.events if event.turn_id), "")

    @property
    def next_seq(self) -> int:
        """The event to go on with."""
        return next((e.seq + 1 for e in reversed(self.events) if e.seq is not None), 0)

    @property
    def text(self) -> str:
        """All deltas joined."""
        return "".join(event.text for event in self.events if event.kind == "delta")

    def take(self, event: Event) -> None:
        """Keep an event."""
        now = time.perf_counter()
        if event.kind == "delta":
            if self.first_delta:
                self.gaps.append(now - self._last)
            else:
                self.first_delta = now
            self._last = now
        if event.kind in ENDS:
            self.ended = now
        self.events.append(event)

    def damage(self, *, stored: tuple[str, str]) -> list[str]:
        """Say what is wrong with what came; nothing where all is well."""
        seqs = [event.seq for event in self.events if event.seq is not None]
        found = []
        if seqs != list(range(len(seqs))):
            found.append(f"{self.turn_id}: seq {seqs} has gaps or repeats")
        if sum(event.kind in ENDS for event in self.events) != 1 or self.events[-1].kind not in ENDS:
            found.append(f"{self.turn_id}: no explicit end, or several")
        if self.text != stored[1]:
            found.append(f"{self.turn_id}: streamed {self.text!r}, stored {stored[1]!r}")
        return found


async def follow(
    client: Client,
    session_id: str,
    text: str,
    *,
    patience: float = 60.0,
    request_id: str = "",
    journal: Journal | None = None,
    **options: Any,
) -> Journal:
    """Run a turn to its end, resuming by `from_seq` whenever the connection breaks."""
    journal = journal or Journal(session_id)
    request_id = request_id or uuid.uuid4().hex
    deadline = time.monotonic() + patience
    while not journal.ended and time.monotonic() < deadline:
        if journal.turn_id:
            events = client.resume(session_id, journal.turn_id, journal.next_seq)
        else:
            events = client.stream(session_id, text, request_id=request_id, **options)
        begin, pause = time.perf_counter(), _PAUSE_SECONDS
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    if event.seq is not None and event.seq < journal.next_seq:
                        raise AssertionError(f"seq {event.seq} came again")
                    journal.take(event)
        except (grpc.aio.AioRpcError, aiohttp.ClientError) as error:
            if (asked := come_back_after(error)) is not None:
                journal.refusals.append(time.perf_counter() - begin)
                pause = asked
            elif isinstance(error, grpc.aio.AioRpcError) and error.code() not in _PASSING:
                raise
        if not journal.ended:
            journal.cuts += pause == _PAUSE_SECONDS
            await asyncio.sleep(pause)
    return journal


def come_back_after(error: grpc.aio.AioRpcError | aiohttp.ClientError) -> float | None:
    """Say in how many seconds one whom a full queue or a rate limit refused may come back.

    None for every other failure; a spent budget is the same status, but asks nobody to come back.
    """
    told: list[Any] = []
    if isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        trailing: Any = error.trailing_metadata() or ()  # the stubs know no items of it
        told = [value for key, value in trailing if key == _RETRY_AFTER]
    elif isinstance(error, aiohttp.ClientResponseError) and error.status == _TOO_MANY and error.headers:
        told = error.headers.getall(_RETRY_AFTER, [])
    return float(told[0]) if told else None


_TOO_MANY: Final = 429
_RETRY_AFTER: Final = "retry-after"
_PASSING: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


async def check(client: Client, journals: Iterable[Journal], *, patience: float = 20.0) -> list[str]:
    """Compare what came with what is stored; reads are tried again while the edge is not well."""
    damage: list[str] = []
    deadline = time.monotonic() + patience
    for journal in journals:
        while True:
            try:
                stored = await client.stored(journal.session_id, journal.turn_id)
            except (grpc.aio.AioRpcError, aiohttp.ClientError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                break
        damage += journal.damage(stored=stored)
    return damage


@dataclass(frozen=True, slots=True)
class Report:
    """What a load showed."""

    journals: Sequence[Journal]
    damage: Sequence[str]
    seconds: float

    def figures(self) -> dict[str, Any]:
        """Milliseconds and rates."""
        firsts = [(j.first_delta - j.asked) * 1000 for j in self.journals if j.first_delta]
        return {
            "turns": len(self.journals),
            "seconds": round(self.seconds, 2),
            "turns_per_second": round(len(self.journals) / self.seconds, 1),
            "characters_per_second": round(sum(len(j.text) for j in self.journals) / self.seconds),
            "first_delta_ms_p50": round(quantile(firsts, 0.5), 1),
            "first_delta_ms_p95": round(quantile(firsts, 0.95), 1),
            "cuts": sum(j.cuts for j in self.journals),
            "damage": list(self.damage),
        }


async def drive(
    client: Client, *, streams: int, turns: int, persona: str, texts: Sequence[str], **options: Any
) -> Report:
    """Keep `streams` turns open until `turns` ended, each in a session of its own; check every one."""
    sessions = [await client.create_session(persona) for _ in range(turns)]
    waiting = iter(enumerate(sessions))
    journals: list[Journal] = []

    async def lane() -> None:
        for number, session_id in waiting:
            journal = await follow(client, session_id, texts[number % len(texts)], **options)
            journals.append(journal)

    start = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(streams)))
    seconds = time.perf_counter() - start
    return Report(journals, await check(client, journals), seconds)


async def _main(arguments: argparse.Namespace) -> int:
    options = {"max_tokens": arguments.max_tokens} if arguments.max_tokens else {}
    async with connect(over_grpc=arguments.grpc) as client:
        report = await drive(
            client, streams=arguments.streams, turns=arguments.turns, persona=arguments.persona,
            texts=[arguments.text], **options,
        )  # fmt: skip
    json.dump(report.figures(), sys.stdout, indent=2)
    print()
    return 1 if report.damage else 0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20, help="turns open at once")
    parser.add_argument("--turns", type=int, default=100, help="turns in all")
    parser.add_argument("--persona", default="bootstrap")
    parser.add_argument("--text", default="How does the package manager decide which version it installs?")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--grpc", action="store_true", help="gRPC over TLS instead of SSE")
    sys.exit(asyncio.run(_main(parser.parse_args())))


if __name__ == "__main__":
    main()
