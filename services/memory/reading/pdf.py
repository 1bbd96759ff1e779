"""PDF to blocks, by pdfium: one block a page, its lines joined into running text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pypdfium2  # type: ignore[import-untyped]  # ships no types

from services.memory.reading.blocks import Block, Bounds, Draft, UnreadableError, assemble, cleaned, flowed

_HYPHEN: Final = re.compile("(?<=\\w)(?:\u00ad|\ufffe|\x02|-)\r?\n(?=[a-z])")


def _page_text(page: pypdfium2.PdfPage) -> str:
    found = page.get_textpage()
    try:
        return str(found.get_text_bounded())
    finally:
        found.close()


def _blocks(document: pypdfium2.PdfDocument) -> Iterator[Block]:
    for number in range(len(document)):
        page = document[number]
        try:
            text = _HYPHEN.sub("", _page_text(page))
        finally:
            page.close()
        yield Block(text=flowed(cleaned(text).replace("\n", " ")), page=number + 1)


def read(content: bytes, bounds: Bounds) -> Draft:
    """Read a PDF.

    Raises:
        UnreadableError: it is damaged, locked by a password, past a bound, or holds images only.
    """
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        raise UnreadableError("the document is not a readable PDF") from error
    try:
        if len(document) > bounds.pages:
            raise UnreadableError(f"the document has more than {bounds.pages} pages")
        title = flowed(cleaned(document.get_metadata_dict().get("Title", "")))[:500]
        return assemble(title, _blocks(document), bounds)
    except pypdfium2.PdfiumError as error:
        raise UnreadableError("a page of the PDF is not readable") from error
    finally:
        document.close()
