"""Committed records leave at once or together, in their order, and none is held without bound."""

import asyncio

from mesh.events import departures
from mesh.events.departures import Departures
from mesh.events.records import Envelope


def envelope(number: int, topic: str) -> Envelope:
    return Envelope(f"rec_{number}", topic, "key", "ten_a", b"", {})


class Wire:
    """Remembers when what was published; an answer comes once it is let through."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.through = asyncio.Event()
        self.through.set()

    async def publish(self, one: Envelope) -> bool:
        self.published.append(one.id)
        await self.through.wait()
        return True


async def test_what_somebody_waits_for_leaves_before_what_was_left_earlier() -> None:
    wire = Wire()
    leaving = Departures(wire.publish)
    leaving.leave([envelope(1, "audit.records"), envelope(2, "slm.requests")])
    await asyncio.sleep(0)
    assert wire.published == ["rec_2"]
    await leaving.close(seconds=5)
    assert wire.published == ["rec_2", "rec_1"]


async def test_what_is_gathered_leaves_together_and_in_its_order() -> None:
    wire = Wire()
    leaving = Departures(wire.publish)
    for number in range(0, 40, 2):
        leaving.leave([envelope(number, "audit.records"), envelope(number + 1, "turns.events")])
        await asyncio.sleep(0)
    assert wire.published == []
    async with asyncio.timeout(5):
        while not wire.published:  # noqa: ASYNC110 - the first of a round tells that it left
            await asyncio.sleep(0.01)
    assert wire.published == [f"rec_{number}" for number in range(40)]


async def test_a_round_comes_after_the_last_and_none_is_forgotten() -> None:
    wire = Wire()
    leaving = Departures(wire.publish)
    for round_ in range(3):
        leaving.leave([envelope(round_, "audit.records")])
        async with asyncio.timeout(5):
            while len(wire.published) <= round_:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
    assert wire.published == ["rec_0", "rec_1", "rec_2"]


async def test_past_the_bound_a_record_is_left_to_the_outbox_worker() -> None:
    wire = Wire()
    wire.through.clear()
    leaving = Departures(wire.publish)
    leaving.leave([envelope(number, "slm.requests") for number in range(departures.MOST_UNDER_WAY + 5)])
    await asyncio.sleep(0)
    assert len(wire.published) == departures.MOST_UNDER_WAY
    wire.through.set()
    await leaving.close(seconds=5)
    leaving.leave([envelope(0, "slm.requests")])
    await asyncio.sleep(0)
    assert len(wire.published) == departures.MOST_UNDER_WAY + 1


async def test_a_failure_ends_no_later_departure() -> None:
    published: list[str] = []

    async def publish(one: Envelope) -> bool:
        published.append(one.id)
        raise OSError("no broker")

    leaving = Departures(publish)
    leaving.leave([envelope(1, "slm.requests"), envelope(2, "slm.requests")])
    leaving.leave([envelope(3, "audit.records")])
    await leaving.close(seconds=5)
    assert published == ["rec_1", "rec_2", "rec_3"]
