"""Cuts passages into what can be quoted: sentences, items of lists, rows of tables, lines of code.

Headings become context. Code is what stands in a fence, what is indented by four spaces, or what follows a
prompt of Python or of a shell.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from models.prompting import Passage

MAX_SENTENCE_CHARACTERS: Final = 600
_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_HEADING: Final = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_UNDERLINE: Final = re.compile(r"^\s*([=\-~^\"*+#])\1{2,}\s*$")
_RULE_ROW: Final = re.compile(r"^[\s|:+=\-]+$")
_ITEM: Final = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_INDENTED: Final = re.compile(r"^(?: {4}|\t)")
_PROMPT: Final = re.compile(r"^\s*(?:>>>|\$) ")
_QUOTE: Final = re.compile(r"^\s*>(?!>)\s?")  # three of them are Python's prompt
_BORDER: Final = re.compile(r"""(?<=[.!?])["'”’)\]*`_]*\s+(?=["'“‘(\[*`_]*[A-Z0-9`"'“(\[])""")  # noqa: RUF001  # typographic quotes are meant
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Mr|Mrs|Dr|Prof|Inc|Ltd|No|Fig|approx|resp|al|St|[A-Z]))\.[\"'”)\]*`_]*\s*$"
)


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A quotable piece of a passage.

    Attributes:
        text: as it stands there, but for line breaks and marks of quoting.
        passage: which one, from 0.
        position: its place in the passage, from 0.
        heading: the nearest one above it inside the passage.
        code: it is a line of code.
    """

    text: str
    passage: int
    position: int
    heading: str = ""
    code: bool = False


class _Kind(Enum):
    """What a line is."""

    BORDER = auto()  # nothing to quote, and what is above it ends there
    HEADING = auto()
    TEXT = auto()
    ITEM = auto()
    ROW = auto()
    CODE = auto()
    PROMPT = auto()  # code whose output may follow


_RUNNING: Final = (_Kind.TEXT, _Kind.ITEM, _Kind.PROMPT)
"""Lines that the next one may go on."""


def split(passages: tuple[Passage, ...]) -> list[Sentence]:
    """Return the sentences of all passages in order, verbatim but for line breaks and marks of quoting."""
    found: list[Sentence] = []
    for index, passage in enumerate(passages):
        for position, (heading, text, code) in enumerate(_pieces(passage.text)):
            found.append(Sentence(text=text, passage=index, position=position, heading=heading, code=code))
    return found


def _pieces(text: str) -> Iterator[tuple[str, str, bool]]:
    for heading, kind, block in _blocks(text):
        code = kind in (_Kind.CODE, _Kind.PROMPT)
        for sentence in (block,) if code or kind is _Kind.ROW else _cut(block):
            if any(character.isalnum() for character in sentence):
                yield heading, sentence[:MAX_SENTENCE_CHARACTERS], code


def _blocks(text: str) -> Iterator[tuple[str, _Kind, str]]:
    """Yield (heading, kind, block of running text); one a paragraph, list item, table row or line of code."""
    heading, kind = "", _Kind.BORDER
    lines: list[str] = []
    for now, line in _lines(text):
        wrapped = now is _Kind.TEXT and kind in _RUNNING
        continued = now is _Kind.CODE and kind is _Kind.CODE and lines[-1].endswith("\\")
        if lines and not (wrapped or continued):
            yield heading, kind, " ".join(lines)
            lines = []
        if now is _Kind.HEADING:
            heading = line
        elif now is not _Kind.BORDER:
            lines.append(line)
        kind = kind if wrapped else now
    if lines:
        yield heading, kind, " ".join(lines)


def _lines(text: str) -> Iterator[tuple[_Kind, str]]:
    """Yield each line's kind, and the line without its marks."""
    fenced, kind = False, _Kind.BORDER
    sources = text.splitlines()
    for line, below in zip(sources, [*sources[1:], ""], strict=False):
        if kind is _Kind.HEADING and _UNDERLINE.match(line):
            kind, kept = _Kind.BORDER, ""
        elif _FENCE.match(line):
            fenced, kind, kept = not fenced, _Kind.BORDER, ""
        elif fenced:
            kind, kept = (_Kind.CODE if line.strip() else _Kind.BORDER), line.strip()
        else:
            kind, kept = _line(line, below, above=kind)
        yield kind, kept


def _line(line: str, below: str, *, above: _Kind) -> tuple[_Kind, str]:
    """Return what a line outside of fences is, and what of it can be quoted."""
    kept = line.strip()
    if not kept or _RULE_ROW.match(line):
        found = _Kind.BORDER, ""
    elif title := _HEADING.match(line):
        found = _Kind.HEADING, title.group(1)
    elif above is not _Kind.TEXT and _UNDERLINE.match(below):
        found = _Kind.HEADING, kept
    elif _INDENTED.match(line) and above not in _RUNNING:
        found = _Kind.CODE, kept
    elif _PROMPT.match(line):
        found = _Kind.PROMPT, kept
    elif kept.startswith("|") or " | " in kept:
        found = _Kind.ROW, kept
    elif _ITEM.match(line):
        found = _Kind.ITEM, _ITEM.sub("", line).strip()
    else:
        found = _Kind.TEXT, _QUOTE.sub("", line).strip()
    return found


def _cut(block: str) -> Iterator[str]:
    start = 0
    for border in _BORDER.finditer(block):
        head = block[start : border.start()]
        if not _ABBREVIATION.search(head):
            yield block[start : border.end()].strip()
            start = border.end()
    if block[start:].strip():
        yield block[start:].strip()
