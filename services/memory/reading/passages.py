"""Cutting a document into passages. Deterministic: the same text gives the same passages.

A passage is a slice of the document's text, `text[start:end]`, that lies under one heading and
begins on one page. It aims at `TARGET` tokens and never has more than `LARGEST`, so that the
embedding model (256 tokens) sees all of it with its headings, and so that a reader finds the answer
at a glance. Passages do not overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.memory.reading.blocks import Bounds, Draft, Placed, UnreadableError

TARGET: Final = 120
LARGEST: Final = 160
SMALLEST: Final = 30
# An upper estimate of WordPiece tokens: pieces of at most seven letters or digits, and every mark.
_TOKEN: Final = re.compile(r"\w{1,7}|[^\w\s]")
_SENTENCE: Final = re.compile(
    r"(?<=[.!?\u2026])[)\]\"'\u201d\u2019]*\s+(?=[^\s a-z])|(?<=[\u3002\uff01\uff1f])|\n"
)
_LONGEST_WORD: Final = 400  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A passage: a slice of the document's text and what stands above it."""

    text: str
    headings: tuple[str, ...]
    start: int
    end: int
    page: int


def tokens(text: str) -> int:
    """Estimate how many tokens the embedding model makes of a text; rather too many."""
    return sum(1 for _ in _TOKEN.finditer(text))


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split a block into sentences, and a sentence that is too long into runs of words."""
    at = start
    for found in _SENTENCE.finditer(text, start, end):
        if found.end() > at:
            yield from _runs(text, at, found.start())
        at = found.end()
    yield from _runs(text, at, end)


def _runs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if start >= end:
        return
    if tokens(text[start:end]) <= LARGEST:
        yield start, end
        return
    begin, last, count = start, start, 0
    for word in re.finditer(rf"\S{{1,{_LONGEST_WORD}}}", text[start:end]):
        weight = tokens(word[0])
        if count and count + weight > TARGET:
            yield begin, last
            begin, count = start + word.start(), 0
        last, count = start + word.end(), count + weight
    yield begin, last


@dataclass(slots=True)
class _Open:
    """The passage that is being filled."""

    start: int
    end: int
    size: int


def _pack(text: str, section: list[Placed]) -> Iterator[tuple[int, int]]:
    """Fill passages with whole blocks, then sentences, of one section."""
    done: list[_Open] = []
    for placed in section:
        whole = tokens(text[placed.start : placed.end]) <= LARGEST
        spans = [(placed.start, placed.end)] if whole else _pieces(text, placed.start, placed.end)
        for start, end in spans:
            size = tokens(text[start:end])
            room = TARGET if not done or done[-1].size >= SMALLEST else LARGEST
            if done and done[-1].size + size <= room:
                done[-1].end, done[-1].size = end, done[-1].size + size
            else:
                done.append(_Open(start, end, size))
    if len(done) > 1 and done[-1].size < SMALLEST and done[-2].size + done[-1].size <= LARGEST:
        tail = done.pop()
        done[-1].end, done[-1].size = tail.end, done[-1].size + tail.size
    for one in done:
        yield one.start, one.end


def _sections(draft: Draft) -> Iterator[list[Placed]]:
    """Group blocks that follow each other under the same headings on the same page."""
    section: list[Placed] = []
    for placed in draft.blocks:
        if placed.block.heading:
            continue
        if section and (
            section[-1].block.headings != placed.block.headings or section[-1].block.page != placed.block.page
        ):
            yield section
            section = []
        section.append(placed)
    if section:
        yield section


def cut(draft: Draft, bounds: Bounds) -> list[Cut]:
    """Cut a document into passages, in order.

    Raises:
        UnreadableError: there are more than the bound allows.
    """
    found: list[Cut] = []
    for section in _sections(draft):
        block = section[0].block
        for start, end in _pack(draft.text, section):
            found.append(
                Cut(
                    text=draft.text[start:end],
                    headings=block.headings,
                    start=start,
                    end=end,
                    page=block.page,
                )
            )
            if len(found) > bounds.passages:
                raise UnreadableError(f"the document has more than {bounds.passages} passages")
    return found
