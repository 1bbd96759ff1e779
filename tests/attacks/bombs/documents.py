# ruff: noqa: E501 - a table of cases reads better with a case on a line
"""Documents that are small to send and dear to read."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from tests.unit.memory.pdf import pdf_of

MEBIBYTE: Final = 1024 * 1024
LARGEST: Final = 16 * MEBIBYTE  # what the contract takes


def _pdf(*objects: bytes, root: int = 1) -> bytes:
    """Give a PDF without a table of its objects, which readers then look for themselves."""
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, one) for number, one in enumerate(objects, start=1))
    return b"%%PDF-1.7\n%strailer << /Root %d 0 R /Size %d >>\n" % (body, root, len(objects) + 1)


def _stream(content: bytes, extra: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), extra, content)


CATALOG: Final = b"<< /Type /Catalog /Pages 2 0 R >>"
PAGES: Final = b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>"
PAGE: Final = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >>"
    b" /XObject << /X 6 0 R >> >> >>"
)
FONT: Final = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def _inflating(times: int) -> bytes:
    """A page whose text inflates; each further time it is deflated once more."""
    content = b"BT /F1 9 Tf (text) Tj ET\n" + b" " * (64 * MEBIBYTE)
    for _ in range(times):
        content = zlib.compress(content, 9)
    filters = b"/Filter [%s]" % (b" /FlateDecode" * times)
    return _pdf(CATALOG, PAGES, PAGE, _stream(content, filters), FONT)


def _drawing_itself() -> bytes:
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >>"
    return _pdf(CATALOG, PAGES, PAGE, _stream(b"/X Do"), FONT, _stream(b"/X Do /X Do", form))


def _huge_image() -> bytes:
    image = b"/Subtype /Image /Width 60000 /Height 60000 /BitsPerComponent 8 /ColorSpace /DeviceRGB"
    return _pdf(CATALOG, PAGES, PAGE, _stream(b"/X Do"), FONT, _stream(b"x", b"/Type /XObject " + image))


def _much_text() -> bytes:
    content = zlib.compress(b"BT /F1 9 Tf " + b"(words and words) Tj " * 1_000_000 + b"ET", 9)
    return _pdf(CATALOG, PAGES, PAGE, _stream(content, b"/Filter /FlateDecode"), FONT)


def _objects_in_themselves() -> bytes:
    packed = zlib.compress(b"1 0 2 60 " + CATALOG + b" " * 30 + PAGES)
    extra = b"/Type /ObjStm /N 2 /First 9 /Extends 1 0 R /Filter /FlateDecode"
    return _pdf(_stream(packed, extra), _stream(packed, extra.replace(b"1 0 R", b"2 0 R")))


DOCUMENTS: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "PDF: text that inflates 1,000 times": ("application/pdf", lambda: _inflating(1)),
    "PDF: text that inflates again and again": ("application/pdf", lambda: _inflating(4)),
    "PDF: a form that draws itself": ("application/pdf", _drawing_itself),
    "PDF: an image of ten gigabytes": ("application/pdf", _huge_image),
    "PDF: a million texts": ("application/pdf", _much_text),
    "PDF: objects packed in themselves": ("application/pdf", _objects_in_themselves),
    "PDF: pages in a circle": (
        "application/pdf", lambda: _pdf(CATALOG, b"<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R 2 0 R] >>")),
    "PDF: a page that is its own parent": (
        "application/pdf", lambda: _pdf(CATALOG, PAGES, PAGE.replace(b"2 0 R", b"3 0 R"), _stream(b""), FONT)),
    "PDF: 100,000 pages": ("application/pdf", lambda: pdf_of(*["x"] * 100_000)[:LARGEST]),
    "PDF: more pages than there are": (
        "application/pdf", lambda: _pdf(CATALOG, PAGES.replace(b"/Count 1", b"/Count 2147483647"), PAGE)),
    "PDF: nested arrays": ("application/pdf", lambda: _pdf(b"[" * 200_000, CATALOG, root=2)),
    "PDF: nested dictionaries": ("application/pdf", lambda: _pdf(CATALOG, b"<</A " * 200_000)),
    "PDF: a length of its own": (
        "application/pdf", lambda: _pdf(CATALOG, PAGES, PAGE, b"<< /Length 4 0 R >> stream\nx\nendstream")),
    "HTML: nested elements": ("text/html", lambda: b"<div>" * 1_000_000),
    "HTML: nested formatting": ("text/html", lambda: b"<b><i><p>" * 200_000 + b"x"),
    "HTML: formatting that is put right": ("text/html", lambda: b"<a><b><i><table><tr><td>" * 50_000),
    "HTML: an attribute of 10 MiB": ("text/html", lambda: b'<p title="' + b"x" * (10 * MEBIBYTE) + b'">text</p>'),
    "HTML: many attributes": (
        "text/html", lambda: b"<p " + b" ".join(b"a%d=1" % n for n in range(200_000)) + b">text</p>"),
    "HTML: entities": ("text/html", lambda: b"<p>" + b"&amp;&lt;&#x1F600;" * 500_000),
    "HTML: entities that name entities": (
        "text/html", lambda: b'<!DOCTYPE x [<!ENTITY a "%s"><!ENTITY b "%s">]><p>&b;' % (b"x" * 9999, b"&a;" * 9999)),
    "HTML: comments without an end": ("text/html", lambda: b"<p>text</p>" + b"<!--" * 1_000_000),
    "HTML: tags without an end": ("text/html", lambda: b"<" * 4_000_000),
    "HTML: a charset declared often": ("text/html", lambda: b"<meta charset" * 80_000 + b"<p>text"),
    "Markdown: brackets": ("text/markdown", lambda: b"[" * 100_000),
    "Markdown: brackets that close": ("text/markdown", lambda: b"[" * 50_000 + b"]" * 50_000),
    "Markdown: emphasis": ("text/markdown", lambda: b"*a **b " * 50_000),
    "Markdown: underlines": ("text/markdown", lambda: b"_a__" * 100_000),
    "Markdown: backticks": ("text/markdown", lambda: b" ".join(b"`" * n for n in range(1, 3000))),
    "Markdown: quotes in quotes": ("text/markdown", lambda: b"> " * 100_000 + b"x"),
    "Markdown: lists in lists": ("text/markdown", lambda: b"".join(b" " * n * 2 + b"- x\n" for n in range(2000))),
    "Markdown: links": ("text/markdown", lambda: b"[a](<b" * 50_000),
    "Markdown: images in images": ("text/markdown", lambda: b"![" * 50_000 + b"](x)" * 50_000),
    "Markdown: references": ("text/markdown", lambda: b"".join(b"[a%d]: x\n[a%d]\n\n" % (n, n) for n in range(40_000))),
    "Markdown: a wide table": ("text/markdown", lambda: b"|a" * 20_000 + b"|\n" + b"|-" * 20_000 + b"|\n" + b"|x\n" * 500),
    "Markdown: HTML without an end": ("text/markdown", lambda: b"<a " * 100_000),
    "Markdown: front matter without an end": ("text/markdown", lambda: b"---\n" + b"x: y\n" * 500_000),
    "text: one line of 10 MiB": ("text/plain", lambda: b"x" * (10 * MEBIBYTE)),
    "text: one line of words": ("text/plain", lambda: b"word " * 700_000),
    "text: control characters": ("text/plain", lambda: b"\x01\x02\x1b[2J\x7f" * 500_000),
    "text: white space": ("text/plain", lambda: b" \n" * 4_000_000),
    "text: blank lines of spaces": ("text/plain", lambda: (b" " * 1000 + b"\n") * 8000 + b"x"),
    "text: full stops": ("text/plain", lambda: b"." * 3_000_000),
    "text: quotation marks": ("text/plain", lambda: b".\"')" * 900_000),
    "text: combining characters": ("text/plain", lambda: "e\u0301\u0302\u0303".encode() * 500_000),
    "text: as large as it may be": ("text/plain", lambda: b"x y. " * (LARGEST // 5)),
    "text: UTF-32": ("text/plain", lambda: b"\xff\xfe\x00\x00" + b"\x00\xd8\x00\x00" * 100_000),
}  # fmt: skip
