"""Markdown (CommonMark and tables) to blocks: what is said, without the marks.

Code stays code (in a sentence between its backticks, a block of it indented) and an item of a list keeps its
marker: who quotes from a passage must be able to tell a command from a sentence, and where an item ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from services.memory.reading import html
from services.memory.reading.blocks import Block, Bounds, Draft, as_code, assemble, flowed
from services.memory.reading.plain import decoded

_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_ROW: Final = " | "


def _parser(depth: int) -> MarkdownIt:
    return MarkdownIt("commonmark", {"maxNesting": depth, "html": True}).enable("table")


def _inline(tokens: Sequence[Token]) -> str:
    parts: list[str] = []
    for token in tokens:
        match token.type:
            case "text" | "text_special":
                parts.append(token.content)
            case "code_inline":
                parts.append(f"{token.markup}{token.content}{token.markup}")
            case "softbreak" | "hardbreak":
                parts.append(" ")
            case "image":
                parts.append(_inline(token.children or ()))
    return "".join(parts)


class _Walk:
    """Goes through the tokens with the headings above them in mind."""

    def __init__(self) -> None:
        self.headings: list[tuple[int, str]] = []
        self.row: list[str] | None = None
        self.first_of_item = False
        self.items = 0
        self.level = 0
        self.marker = ""

    def _here(self) -> tuple[str, ...]:
        return tuple(text for _, text in self.headings)

    def blocks(self, tokens: Sequence[Token], bounds: Bounds) -> Iterator[Block]:
        """Give the blocks of a document."""
        for token in tokens:
            match token.type:
                case "inline":
                    text = flowed(_inline(token.children or ()))
                    if self.row is None:
                        yield self._heading(text) if self.level else self._paragraph(text)
                    else:
                        self.row.append(text)
                case "tr_close":
                    yield self._block(_ROW.join(self.row or ()), tight=True)
                    self.row = None
                case "fence" | "code_block":
                    yield self._block(as_code(token.content), tight=False)
                case "html_block":
                    for block in html.blocks(token.content, bounds):
                        yield self._block(block.text, tight=False)
                case _:
                    self._note(token)

    def _note(self, token: Token) -> None:
        match token.type:
            case "heading_open":
                self.level = int(token.tag[1:])
            case "heading_close":
                self.level = 0
            case "list_item_open":
                self.first_of_item = True
                self.marker = f"{token.info}{token.markup} " if token.info else "- "
            case "list_item_close":
                self.marker = ""
            case "bullet_list_open" | "ordered_list_open":
                self.items = 0
            case "tr_open":
                self.row = []

    def _paragraph(self, text: str) -> Block:
        tight, self.first_of_item = self.first_of_item and self.items > 0, False
        self.items += 1
        marker, self.marker = self.marker, ""
        return self._block(f"{marker}{text}" if text else "", tight=tight)

    def _heading(self, text: str) -> Block:
        while self.headings and self.headings[-1][0] >= self.level:
            self.headings.pop()
        above = self._here()
        if text:
            self.headings.append((self.level, text))
        return Block(text=text, headings=above, heading=True)

    def _block(self, text: str, *, tight: bool) -> Block:
        return Block(text=text, headings=self._here(), tight=tight)


def read(content: bytes, bounds: Bounds) -> Draft:
    """Read Markdown."""
    text = _FRONT_MATTER.sub("", decoded(content), count=1)
    tokens = _parser(min(bounds.depth, 100)).parse(text)
    return assemble("", _Walk().blocks(tokens, bounds), bounds)
