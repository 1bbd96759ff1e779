"""Whatever claims, stale writers, losses and hand-overs do, a log is one gap-free text.

The writers are the package's own on connections of their own; Redis is real. A
"writer" copies a source text, cut into frames at random places, and goes on
after what it found at its claim: so the log's text must be a prefix of the
source at every moment, however many writers believe that the turn is theirs.
"""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from mesh.runtime.ids import new_id
from mesh.turnlog import (
    Claimed,
    Frame,
    Leases,
    Link,
    LogReader,
    LogWriter,
    Refusal,
    TurnKey,
    TurnLogError,
)
from tests.support.redis_server import RedisServer

SOURCE = "".join(chr(0x41 + i % 26) + chr(0xE0 + i % 20) for i in range(4000))
OPENING = (b"accepted", b"recalled")
OWNERS = ("a", "b", "c")
owners = st.sampled_from(OWNERS)


class Copier:
    """A writer that believes it owns the turn until it is told otherwise."""

    def __init__(self, claimed: Claimed) -> None:
        self.epoch = claimed.epoch
        self.writer = LogWriter(claimed)
        self.done = sum(len(e.event.decode()) for e in claimed.entries[len(OPENING) :])
        self.alive = True

    def write(self, length: int) -> None:
        piece = SOURCE[self.done : self.done + length]
        self.done += length
        try:
            self.writer.append(Frame(piece.encode(), tokens=self.done))
        except TurnLogError:
            self.alive = False

    async def settle(self) -> None:
        try:
            await self.writer.flush()
        except TurnLogError:
            self.alive = False


class TurnLogMachine(RuleBasedStateMachine):
    """Three owners, one turn; any of them may be stale, cut off or late."""

    url = ""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.key = TurnKey("acme", new_id("trn"))
        self.links = {name: Link(self.url) for name in OWNERS}
        self.leases = {
            name: Leases(link, owner=name, lease=timedelta(milliseconds=1))
            for name, link in self.links.items()
        }
        self.control = Link(self.url)
        self.reader = LogReader(self.control)
        self.copiers: list[Copier] = []
        self.epochs: list[int] = []
        self.lost = False
        assert self._run(self.leases["a"].open_log(self.key, OPENING))

    def _run(self, awaitable):  # type: ignore[no-untyped-def]
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, 20))

    @rule(owner=owners)
    def claim(self, owner: str) -> None:
        self._run(asyncio.sleep(0.002))  # the lease of 1 ms is over by then
        result = self._run(self.leases[owner].claim(self.key, request=b"request", opening=OPENING))
        assert isinstance(result, Claimed)
        assert result.request == b"request"
        assert result.next_seq >= len(OPENING)
        assert all(result.epoch > epoch for epoch in self.epochs), "an epoch is never given twice"
        self.epochs.append(result.epoch)
        self.copiers.append(Copier(result))

    @rule(data=st.data(), cuts=st.lists(st.integers(1, 9), min_size=1, max_size=6))
    def write(self, data: st.DataObject, cuts: list[int]) -> None:
        if alive := [c for c in self.copiers if c.alive]:
            copier = data.draw(st.sampled_from(alive))
            self._write([(copier, cut) for cut in cuts])

    @rule(cuts=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 9)), min_size=2, max_size=24))
    def race(self, cuts: list[tuple[int, int]]) -> None:
        if alive := [c for c in self.copiers if c.alive]:
            self._write([(alive[who % len(alive)], cut) for who, cut in cuts])

    def _write(self, orders: list[tuple[Copier, int]]) -> None:
        async def all_at_once() -> None:
            for copier, cut in orders:
                if copier.alive:
                    copier.write(cut)

        self._run(all_at_once())

    @rule(owner=owners)
    def cut_off(self, owner: str) -> None:
        self.links[owner].close()

    @rule(owner=owners)
    def hand_over(self, owner: str) -> None:
        if self.epochs:
            self._run(self.leases[owner].release(self.key, epoch=self.epochs[-1]))

    @rule()
    def settle(self) -> None:
        for copier in self.copiers:
            if copier.alive:
                self._run(copier.settle())

    @rule()
    def lose_everything(self) -> None:
        self._run(self.control.call("DEL", self.key.log, self.key.meta))
        self._run(self.control.call("ZREM", "turnlog:leases", self.key.member))
        self.lost = True

    @rule(from_seq=st.integers(0, 40))
    def resume(self, from_seq: int) -> None:
        whole = self._run(self.reader.snapshot(self.key)).entries

        async def follow() -> list[tuple[int, bytes]]:
            seen = []
            async for batch in self.reader.follow(self.key, from_seq=from_seq, pause=0.02):
                if batch is None:
                    break
                seen += [(entry.seq, entry.event) for entry in batch]
            return seen

        assert self._run(follow()) == [(e.seq, e.event) for e in whole if e.seq >= from_seq]

    @invariant()
    def log_is_a_prefix_without_a_gap(self) -> None:
        if not hasattr(self, "loop"):
            return
        entries = self._run(self.reader.snapshot(self.key)).entries  # raises on a gap
        if not entries:
            assert self.lost
            return
        assert tuple(e.event for e in entries[: len(OPENING)]) == OPENING
        text = b"".join(e.event for e in entries[len(OPENING) :]).decode()
        assert text == SOURCE[: len(text)]
        if len(entries) > len(OPENING):
            assert entries[-1].tokens == len(text)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for copier in self.copiers:
            copier.writer.abandon()
        self.reader.close()
        for link in (*self.links.values(), self.control):
            link.close()
        self._run(asyncio.sleep(0))
        self.loop.close()


def test_any_interleaving_leaves_one_gap_free_text(redis: RedisServer) -> None:
    TurnLogMachine.url = redis.url
    run_state_machine_as_test(
        TurnLogMachine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(120)
async def test_thousand_races_of_live_writers_damage_no_text(redis: RedisServer) -> None:
    outcomes = []
    for start in range(0, 1000, 25):
        outcomes += await asyncio.gather(*(_race(redis.url, seed) for seed in range(start, start + 25)))
    assert outcomes == [True] * 1000


async def _race(url: str, seed: int) -> bool:
    """Two to four live writers take the turn from each other while all go on writing."""
    import random

    rnd = random.Random(seed)
    key = TurnKey("race", new_id("trn"))
    end = 300
    links = [Link(url) for _ in range(rnd.randint(2, 4))]

    async def write(index: int) -> None:
        leases = Leases(links[index], owner=str(index), lease=timedelta(milliseconds=0))
        await asyncio.sleep(index * 0.004 + rnd.random() * 0.004)
        claimed = await leases.claim(key, request=b"r", opening=OPENING)
        if isinstance(claimed, Refusal):
            return
        copier = Copier(claimed)
        while copier.alive and copier.done < end:
            copier.write(min(rnd.randint(2, 9), end - copier.done))
            if rnd.random() < 0.5:
                await asyncio.sleep(rnd.random() * 0.001)
        await copier.settle()

    await asyncio.gather(*(write(index) for index in range(len(links))))
    reader = LogReader(links[0])
    entries = (await reader.snapshot(key)).entries
    for link in links:
        link.close()
    text = b"".join(e.event for e in entries[len(OPENING) :]).decode()
    return text == SOURCE[:end]
