"""HTML to blocks: what a reader of the page would see, without scripts and styles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from services.memory.reading.blocks import Block, Bounds, Draft, UnreadableError, as_code, assemble, flowed
from services.memory.reading.plain import decoded

_DROPPED: Final = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "math",
        "iframe",
        "object",
        "embed",
        "head",
        "canvas",
        "audio",
        "video",
    ]
)
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_BREAKS: Final = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "title",
        "tr",
        "ul",
    ]
)
_TIGHT: Final = frozenset({"li", "tr", "dt", "dd"})
_CELLS: Final = frozenset({"td", "th"})
_CHARSET: Final = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.IGNORECASE
)
_DECLARATION_WITHIN: Final = 1024  # bytes; HTML Standard, section 13.2.3.2


class _Walk:
    """Goes through a tree without recursion and cuts text where a block begins or ends."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._text: list[str] = []
        self._headings: list[tuple[int, str]] = []
        self._heading = 0
        self._tight = False
        self._preformatted = 0
        self._marker = ""
        self._ready: list[Block] = []

    def blocks(self, root: LexborNode) -> Iterator[Block]:
        stack: list[tuple[LexborNode, bool]] = [(root, False)]
        depth = 0
        while stack:
            node, leaving = stack.pop()
            if leaving:
                depth -= 1
                self._leave(node.tag or "")
            elif node.tag == "-text":
                self._text.append(node.text_content or "")
            elif node.tag not in _DROPPED and not (node.tag or "").startswith("-_"):
                depth += 1
                if depth > self._bounds.depth:
                    raise UnreadableError(f"elements nest deeper than {self._bounds.depth}")
                self._enter(node.tag or "")
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(list(node.iter(include_text=True))))
            yield from self._ready
            self._ready.clear()
        self._cut()
        yield from self._ready

    def _enter(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._cut()
            self._heading = _HEADINGS[tag]
        elif tag in _BREAKS:
            self._cut()
            self._tight = tag in _TIGHT
            self._marker = "- " if tag == "li" else self._marker
            self._preformatted += tag == "pre"
        elif tag in _CELLS and "".join(self._text).strip():
            self._text.append(" | ")
        elif tag == "br":
            self._text.append("\n" if self._preformatted else " ")

    def _leave(self, tag: str) -> None:
        if tag in _HEADINGS or tag in _BREAKS:
            self._cut()
            self._heading = 0
            self._preformatted -= tag == "pre"
            self._marker = "" if tag == "li" else self._marker

    def _cut(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        text = as_code(text) if self._preformatted else flowed(text.replace("\n", " "))
        if not text.strip():
            return
        if self._heading:
            while self._headings and self._headings[-1][0] >= self._heading:
                self._headings.pop()
        marker, self._marker = self._marker, ""
        block = Block(
            text=text if self._preformatted or self._heading else f"{marker}{text}",
            headings=tuple(one for _, one in self._headings),
            tight=self._tight and not self._heading,
            heading=bool(self._heading),
        )
        if self._heading:
            self._headings.append((self._heading, text))
        self._ready.append(block)


def blocks(markup: str, bounds: Bounds) -> Iterator[Block]:
    """Give the blocks of a page or of a piece of one."""
    root = LexborHTMLParser(markup).root
    if root is not None:
        yield from _Walk(bounds).blocks(root)


def read(content: bytes, bounds: Bounds) -> Draft:
    """Read a page; its title is that of its head, else its first heading."""
    declared = _CHARSET.search(content[:_DECLARATION_WITHIN])
    markup = decoded(content, declared[1].decode("ascii") if declared else "utf-8")
    head = LexborHTMLParser(markup).css_first("title")
    title = flowed(head.text(deep=False).replace("\n", " "))[:500] if head is not None else ""
    return assemble(title, blocks(markup, bounds), bounds)
