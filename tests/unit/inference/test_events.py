"""Server-sent events, however the network cuts them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.inference.http import Event, events


async def cut(stream: bytes, sizes: list[int]) -> list[Event]:
    async def pieces() -> AsyncIterator[bytes]:
        at = 0
        for size in sizes:
            yield stream[at : at + size]
            at += size
        yield stream[at:]

    return [event async for event in events(pieces())]


WHOLE = (
    b": a comment\n"
    b"event: ping\ndata: {}\n\n"
    b"data: one\ndata: two\n\n"
    b"id: 7\nretry: 5\ndata:no blank\r\n\r\n"
    b"event: nothing\n\n"
    b"data: na\xc3\xafve\n\n"
    b"data: unfinished"
)
EVENTS = [Event("ping", "{}"), Event("", "one\ntwo"), Event("", "no blank"), Event("", "naïve")]


@given(st.lists(st.integers(min_value=1, max_value=12), max_size=60))
async def test_events_are_the_same_wherever_they_are_cut(sizes: list[int]) -> None:
    assert await cut(WHOLE, sizes) == EVENTS


async def test_an_event_without_end_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ValueError, match="too long"):
        await cut(b"data: " + b"x" * (1 << 21), [1 << 16] * 32)
    with pytest.raises(ValueError, match="too long"):
        await cut(b"data: x\n" * (1 << 18), [1 << 16] * 32)


async def test_many_short_events_are_no_long_one() -> None:
    found = await cut(b"data: x\n\n" * 200_000, [1 << 16] * 30)
    assert len(found) == 200_000


@pytest.mark.parametrize("data", ["", "[1]", "7", "{", "null"])
def test_data_that_is_no_object_is_refused(data: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  json's own
        Event("", data).json()
