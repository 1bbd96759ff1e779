"""From a document's bytes to its passages, by media type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from services.memory.reading import html, markdown, passages, pdf, plain
from services.memory.reading.blocks import Bounds, Draft, UnreadableError
from services.memory.reading.passages import Cut

PDF: Final = "application/pdf"
READERS: Final[Mapping[str, Callable[[bytes, Bounds], Draft]]] = {
    "text/plain": plain.read,
    "text/markdown": markdown.read,
    "text/html": html.read,
    PDF: pdf.read,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read: the title that the document gives itself, and its passages in order."""

    title: str
    passages: tuple[Cut, ...]


def read(content: bytes, media_type: str, bounds: Bounds) -> Reading:
    """Read a document.

    Raises:
        UnreadableError: it cannot be read, or passes a bound.
    """
    reader = READERS.get(media_type)
    if reader is None:
        raise UnreadableError(f"there is no reader for {media_type}")
    draft = reader(content, bounds)
    return Reading(title=draft.title, passages=tuple(passages.cut(draft, bounds)))
