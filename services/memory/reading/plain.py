"""Bytes to characters, and plain text to blocks."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from services.memory.reading.blocks import Block, Bounds, Draft, UnreadableError, assemble, cleaned, flowed

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLANK: Final = re.compile(r"\n[^\S\n]*\n\s*")


def decoded(content: bytes, declared: str = "utf-8") -> str:
    """Decode by the byte-order mark, else by the declared charset; never guess.

    Raises:
        UnreadableError: the bytes are not text in that charset.
    """
    charset = next((name for mark, name in _MARKS if content.startswith(mark)), declared)
    try:
        text = content.decode(charset)
    except (UnicodeDecodeError, LookupError) as error:
        raise UnreadableError(f"the document is not text in {charset}") from error
    if "\x00" in text:
        raise UnreadableError("the document holds binary data")
    return cleaned(text)


def paragraphs(text: str) -> Iterator[str]:
    """Split at blank lines."""
    for part in _BLANK.split(text):
        found = flowed(part)
        if found:
            yield found


def read(content: bytes, bounds: Bounds) -> Draft:
    """Read plain text."""
    return assemble("", (Block(text=one) for one in paragraphs(decoded(content))), bounds)
