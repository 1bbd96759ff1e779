"""Gathering of foreign pieces into frames."""

import asyncio

from workers.slm.gather import Gatherer


async def gathered(pieces: list[tuple[str, float]], *, interval: float) -> list[str]:
    frames: list[str] = []

    async def emit(text: str, _tokens: int) -> None:
        frames.append(text)

    gatherer = Gatherer(emit, interval=interval)
    for text, pause in pieces:
        await gatherer.add(text, 1)
        await asyncio.sleep(pause)
    await gatherer.flush()
    return frames


async def test_first_piece_goes_at_once_and_the_rest_is_gathered() -> None:
    frames = await gathered([("a", 0.0), ("b", 0.0), ("c", 0.0)], interval=10.0)
    assert frames == ["a", "bc"]


async def test_no_interval_passes_every_piece_through() -> None:
    assert await gathered([("a", 0.0), ("b", 0.0)], interval=0.0) == ["a", "b"]


async def test_piece_after_the_interval_takes_what_was_held_along() -> None:
    frames = await gathered([("a", 0.0), ("b", 0.03), ("c", 0.0)], interval=0.02)
    assert frames == ["a", "bc"]


async def test_tokens_without_text_are_emitted_too() -> None:
    counted: list[int] = []

    async def emit(_text: str, tokens: int) -> None:
        counted.append(tokens)

    gatherer = Gatherer(emit, interval=5.0)
    await gatherer.add("a", 1)
    await gatherer.add("", 3)
    assert gatherer.wait() is not None
    await gatherer.flush()
    assert counted == [1, 3]
    assert gatherer.wait() is None
