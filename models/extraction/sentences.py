"""Cuts passages into sentences that can be quoted: prose, list items, table rows; headings become context."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from models.prompting import Passage

MAX_SENTENCE_CHARACTERS: Final = 600
_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_HEADING: Final = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_UNDERLINE: Final = re.compile(r"^\s*([=\-~^\"*+#])\1{2,}\s*$")
_RULE_ROW: Final = re.compile(r"^[\s|:+=\-]+$")
_ITEM: Final = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_QUOTE: Final = re.compile(r"^\s*>(?!>)\s?")  # three of them are Python's prompt
_BORDER: Final = re.compile(r"""(?<=[.!?])["'”’)\]*`_]*\s+(?=["'“‘(\[*`_]*[A-Z0-9`"'“(\[])""")  # noqa: RUF001  # typographic quotes are meant
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Mr|Mrs|Dr|Prof|Inc|Ltd|No|Fig|approx|resp|al|St|[A-Z]))\.[\"'”)\]*`_]*\s*$"
)


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A quotable piece of a passage; `heading` is the nearest heading above it inside the passage."""

    text: str
    passage: int
    position: int
    heading: str = ""


def split(passages: tuple[Passage, ...]) -> list[Sentence]:
    """Return the sentences of all passages in order, verbatim but for line breaks and marks of quoting."""
    found: list[Sentence] = []
    for index, passage in enumerate(passages):
        for position, (heading, text) in enumerate(_pieces(passage.text)):
            found.append(Sentence(text=text, passage=index, position=position, heading=heading))
    return found


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    for heading, block in _blocks(text):
        for sentence in _cut(block):
            if any(character.isalnum() for character in sentence):
                yield heading, sentence[:MAX_SENTENCE_CHARACTERS]


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield (heading, block of running text); one block a paragraph, list item, table row or line of code."""
    heading, fenced = "", False
    lines: list[str] = []
    sources = text.splitlines()
    for number, line in enumerate(sources):
        below = sources[number + 1] if number + 1 < len(sources) else ""
        title = _HEADING.match(line)
        if _FENCE.match(line):
            starts, fenced, kept = True, not fenced, ""
        elif fenced:
            starts, kept = True, line.strip()
        elif (
            title
            or (_UNDERLINE.match(below) and line.strip() and not lines)
            or not line.strip()
            or _RULE_ROW.match(line)
        ):
            starts, kept = True, ""
        else:
            starts = bool(_ITEM.match(line)) or line.lstrip().startswith("|")
            kept = _QUOTE.sub("", _ITEM.sub("", line)).strip()
        if starts and lines:
            yield heading, " ".join(lines)
            lines = []
        if not fenced and (title or (_UNDERLINE.match(below) and line.strip() and not kept)):
            heading = title.group(1) if title else line.strip()
        if kept:
            lines.append(kept)
            if fenced or kept.startswith("|"):
                yield heading, " ".join(lines)
                lines = []
    if lines:
        yield heading, " ".join(lines)


def _cut(block: str) -> Iterator[str]:
    if block.startswith("|"):
        yield block
        return
    start = 0
    for border in _BORDER.finditer(block):
        head = block[start : border.start()]
        if not _ABBREVIATION.search(head):
            yield block[start : border.end()].strip()
            start = border.end()
    if block[start:].strip():
        yield block[start:].strip()
