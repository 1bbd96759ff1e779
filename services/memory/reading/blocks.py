"""The form that every format is read into: a text, and the blocks that it consists of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import indent
from typing import Final

PARAGRAPH: Final = "\n\n"
LINE: Final = "\n"
# What no store can hold or no reader can see: C0 and C1 controls but tab and newline, and U+FFFE/F.
_UNSEEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_SPACES: Final = re.compile(r"[^\S\n]+")
_EDGES: Final = re.compile(r" ?\n ?")
CODE_INDENT: Final = "    "


class UnreadableError(Exception):
    """The document is not what its media type says, or is past a bound; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a document may be at most.

    Attributes:
        characters: of its text.
        pages: of a PDF.
        blocks: paragraphs, list items, rows.
        depth: how deep elements nest.
        passages: that it is cut into.
    """

    characters: int = 4_000_000
    pages: int = 2_000
    blocks: int = 100_000
    depth: int = 200
    passages: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A paragraph, list item, table row or piece of code.

    Attributes:
        text: what it says.
        headings: headings above it, outermost first.
        page: page of a PDF, from 1; 0 elsewhere.
        tight: follows the block before it without a blank line.
        heading: it is itself a heading, not a paragraph.
    """

    text: str
    headings: tuple[str, ...] = ()
    page: int = 0
    tight: bool = False
    heading: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A block with its place in the document's text."""

    block: Block
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A document that was read."""

    title: str
    text: str
    blocks: tuple[Placed, ...]


def cleaned(text: str) -> str:
    """Unify line ends and take out what no store can hold."""
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def flowed(text: str) -> str:
    """Make white space inside of a paragraph single spaces, keeping its line ends."""
    return _EDGES.sub("\n", _SPACES.sub(" ", text)).strip()


def as_code(text: str) -> str:
    """Indent code as Markdown does, so that each of its lines is still seen to be code in a passage."""
    return indent(text.strip("\n"), CODE_INDENT)


def assemble(title: str, blocks: Iterable[Block], bounds: Bounds) -> Draft:
    """Join blocks into the document's text and note where each stands.

    Raises:
        UnreadableError: a bound is passed, or nothing is there to read.
    """
    parts: list[str] = []
    placed: list[Placed] = []
    length = 0
    for block in blocks:
        if not block.text:
            continue
        if parts:
            between = LINE if block.tight else PARAGRAPH
            parts.append(between)
            length += len(between)
        parts.append(block.text)
        placed.append(Placed(block=block, start=length, end=length + len(block.text)))
        length += len(block.text)
        if length > bounds.characters:
            raise UnreadableError(f"the document's text has more than {bounds.characters} characters")
        if len(placed) > bounds.blocks:
            raise UnreadableError(f"the document has more than {bounds.blocks} paragraphs")
    if not any(not one.block.heading for one in placed):
        raise UnreadableError("the document holds no text")
    return Draft(title=title or _found_title(placed), text="".join(parts), blocks=tuple(placed))


def _found_title(placed: list[Placed]) -> str:
    """Give the first heading, else nothing."""
    return next((one.block.text for one in placed if one.block.heading), "")[:500]
