"""The checker on a real stack: green after a real workload, and red by what is planted in the real stores.

Whatever is planted is of the run's own tenants and is taken away again, so that others may use the stack.
A lost row or a missing record breaks more than one invariant, because more than one store tells of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis
from soma.orchestrator.v1.resources_pb2 import TurnEvent

from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from mesh.turnlog.keys import TurnKey
from tests.chaos.held import Held, Row, Violation
from tests.chaos.holdings import Holdings, Watched
from tests.chaos.invariants import check
from tests.chaos.journal import Journal, Outcome, Story, read
from tests.chaos.stores import OPERATOR, ends_now, postgres
from tests.chaos.workload import workload
from tests.support.stack import Stack

DRAIN_SECONDS = 120.0
Planted = Callable[["Run"], AbstractAsyncContextManager[str]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A real run that was found green."""

    settings: StackSettings
    watched: tuple[Watched, ...]
    holdings: Holdings
    story: Story
    held: Held

    async def violations(self) -> list[Violation]:
        """Read everything again and ask the checker."""
        return check(self.story, await self.holdings.read())

    @property
    def turn(self) -> Row:
        """A turn that was streamed to its end, with some text."""
        ended = {
            event["accepted"]["turn_id"]
            for one in self.story.of("turn.stream")
            if one.outcome is Outcome.OK
            for connection in one.connections
            for event in connection.events
            if "accepted" in event
        }
        return next(row for row in self.held.turns if row["id"] in ended and len(row["delta_lengths"]) > 1)


@pytest.fixture(scope="module")
async def run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Users of two tenants do everything once; the journal and all that the platform holds."""
    path = tmp_path_factory.mktemp("chaos") / "journal.jsonl"
    since = await ends_now(stack.settings)
    with Journal(path) as journal:
        async with workload(stack, journal, seed=11, tenants=2, users=1) as load:
            await load.once()
            holdings = Holdings(stack, load.watched, since=since)
            unfinished = await holdings.drained(seconds=DRAIN_SECONDS)
            await load.read_again()
    held = await holdings.read(unfinished=unfinished)
    return Run(
        settings=stack.settings, watched=load.watched, holdings=holdings, story=read(path), held=held
    )  # fmt: skip


async def test_a_run_without_a_fault_is_green(run: Run) -> None:
    assert check(run.story, run.held) == []
    kinds = {one.kind for one in run.story.operations.values() if one.outcome is Outcome.OK}
    assert kinds >= {
        "session.create", "turn.stream", "turn.whole", "turn.chat", "turn.cancel", "turn.read",
        "memory.remember", "memory.forget", "memory.recall", "document.ingest", "document.retrieve",
        "key.create", "pry",
    }  # fmt: skip
    assert {sighting.tenant for sighting in run.held.sightings} == run.story.tenants
    for name in ("sessions", "turns", "documents", "keys", "outbox", "audit", "records", "logs", "points"):
        assert getattr(run.held, name), name


@asynccontextmanager
async def set_aside(
    connection: asyncpg.Connection[asyncpg.Record], table: str, own: str, turn_id: str
) -> AsyncIterator[None]:
    """Take a turn's rows, those where `own` of its id holds, out of a table, and put them back."""
    await connection.execute(f"create temporary table kept (like {table})")
    await connection.execute(f"insert into kept select * from {table} where {own}", turn_id)
    await connection.execute(f"delete from {table} where {own}", turn_id)
    try:
        yield
    finally:
        await connection.execute(f"insert into {table} select * from kept")


@asynccontextmanager
async def lost_turn(run: Run) -> AsyncIterator[str]:
    async with (
        postgres(run.settings) as connection,
        set_aside(connection, "orchestrator.turns", "id = $1", run.turn["id"]),
    ):
        yield str(run.turn["id"])


@asynccontextmanager
async def swapped_text(run: Run) -> AsyncIterator[str]:
    swap = "update orchestrator.turns set text = $2 where id = $1"
    async with postgres(run.settings) as connection:
        await connection.execute(swap, run.turn["id"], run.turn["text"][::-1])
        try:
            yield str(run.turn["id"])
        finally:
            await connection.execute(swap, run.turn["id"], run.turn["text"])


@asynccontextmanager
async def doubled_frame(run: Run) -> AsyncIterator[str]:
    key = TurnKey(run.turn["tenant"], run.turn["id"])
    client: Any = redis.from_url(Environment(run.settings).redis_url(OPERATOR))
    async with client:
        entries = await client.xrange(key.log)
        events = [fields for _, fields in entries if b"e" in fields]  # a fence has none
        frame = next(one for one in events if TurnEvent.FromString(one[b"e"]).HasField("delta"))
        epoch, _, place = entries[-1][0].decode().partition("-")
        added = await client.xadd(key.log, frame, id=f"{epoch}-{int(place) + 1}")
        try:
            yield run.turn["id"]
        finally:
            await client.xdel(key.log, added)


@asynccontextmanager
async def missing_record(run: Run) -> AsyncIterator[str]:
    own = "resource = $1 and action = 'turns.create'"
    async with postgres(run.settings) as connection:
        await connection.execute("set session_replication_role = replica")  # no trigger protects the rows
        async with set_aside(connection, "audit.records", own, run.turn["id"]):
            yield str(run.turn["id"])


def append(path: Path, line: bytes) -> None:
    """Write a line as the process does whose log it is."""
    with path.open("ab") as log:
        log.write(line)


def blot(path: Path, line: bytes, word: bytes) -> None:
    """Take a word out of a line without moving what is written after it."""
    place = path.read_bytes().index(line)
    with path.open("r+b") as log:
        log.seek(place)
        log.write(line.replace(word, b"-" * len(word)))


@asynccontextmanager
async def canary_in_a_log(run: Run) -> AsyncIterator[str]:
    path: Path = run.settings.home.log_of("gateway")
    canary = run.watched[0].owner.canary
    line = f'{{"event": "a leak for a test", "text": "{canary}"}}\n'.encode()
    append(path, line)
    try:
        yield canary
    finally:
        blot(path, line, canary.encode())


@asynccontextmanager
async def canary_at_a_stranger(run: Run) -> AsyncIterator[str]:
    owner, stranger = run.watched
    rename = "update identity.users set display_name = $2 where id = $1"
    async with postgres(run.settings) as connection:
        before = await connection.fetchval(
            "select display_name from identity.users where id = $1", stranger.tenant.user
        )
        await connection.execute(rename, stranger.tenant.user, f"of {owner.owner.canary}")
        try:
            yield owner.owner.canary
        finally:
            await connection.execute(rename, stranger.tenant.user, before)


@pytest.mark.parametrize(
    ("planted", "invariants"),
    [
        (lost_turn, {"I1", "I4", "I7"}),
        (doubled_frame, {"I4"}),
        (canary_in_a_log, {"I6"}),
        (canary_at_a_stranger, {"I6"}),
        (missing_record, {"I5", "I7"}),
        (swapped_text, {"I4", "I7"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_is_planted_in_the_stores_is_found(
    run: Run, planted: Planted, invariants: set[str]
) -> None:
    async with planted(run) as named:
        found = await run.violations()
    assert {violation.invariant for violation in found} == invariants, found
    for invariant in invariants - {"I4", "I7"}:
        assert any(named in one.what for one in found if one.invariant == invariant), found


async def test_nothing_that_was_planted_is_left(run: Run) -> None:
    assert await run.violations() == []
