"""Reading text, Markdown, HTML and PDF."""

from __future__ import annotations

import pytest

from services.memory.reading import html, markdown, plain
from services.memory.reading.blocks import Bounds, UnreadableError
from services.memory.reading.document import read
from tests.unit.memory.pdf import pdf_of

BOUNDS = Bounds()


def texts(draft: object) -> list[str]:
    return [one.block.text for one in draft.blocks]  # type: ignore[attr-defined]


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_decoded_by_its_mark(charset: str) -> None:
    assert plain.read("caf\u00e9\r\n\r\nbar".encode(charset), BOUNDS).text == "caf\u00e9\n\nbar"


@pytest.mark.parametrize("content", [b"caf\xe9", b"a\x00b", b"\xff\xfea", b"", b"  \n\t "])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        plain.read(content, BOUNDS)


def test_controls_that_no_store_holds_are_taken_out() -> None:
    assert plain.read(b"a\x07b\x1b[0m", BOUNDS).text == "ab[0m"


def test_markdown_says_what_its_reader_sees() -> None:
    source = b"""---
key: value
---
# The *title*

Some `code`, a [link](http://x) and
a second line. ![picture](p.png)

- one
- two

| a | b |
|---|---|
| 1 | **2** |

```python
x = 1
```

<div onclick="evil()">boxed <script>evil()</script></div>
"""
    draft = markdown.read(source, BOUNDS)
    assert draft.title == "The title"
    assert texts(draft) == [
        "The title",
        "Some `code`, a link and a second line. picture",
        "- one",
        "- two",
        "a | b",
        "1 | 2",
        "    x = 1",
        "boxed",
    ]


def test_html_drops_scripts_and_keeps_structure() -> None:
    page = b"""<!doctype html><html><head><title>The page</title><style>p{}</style></head><body>
    <script>document.write('evil')</script><h1>Top</h1><p>Hello&nbsp;<b>you</b>.<br>More.</p>
    <h2>Below</h2><ul><li>one<li>two</ul><table><tr><td>a</td><td>b</td></tr></table>
    <noscript>no</noscript><template><p>hidden</p></template><!-- comment --></body></html>"""
    draft = html.read(page, BOUNDS)
    assert draft.title == "The page"
    assert texts(draft) == ["Top", "Hello you. More.", "Below", "- one", "- two", "a | b"]
    assert draft.blocks[-1].block.headings == ("Top", "Below")


def test_html_is_decoded_by_the_charset_that_it_declares() -> None:
    page = "<meta charset='iso-8859-1'><p>caf\u00e9</p>".encode("iso-8859-1")
    assert texts(html.read(page, BOUNDS)) == ["caf\u00e9"]
    with pytest.raises(UnreadableError, match="nosuch"):
        html.read(b"<meta charset=nosuch><p>a</p>", BOUNDS)


def test_entities_are_not_expanded_without_end() -> None:
    page = b'<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]><p>&b;</p>'
    assert "lollol" not in html.read(page, BOUNDS).text


@pytest.mark.parametrize("tag", ["div", "b", "ul><li"])
def test_elements_that_nest_too_deep_are_refused(tag: str) -> None:
    with pytest.raises(UnreadableError, match="deeper"):
        html.read(f"<{tag}>".encode() * 5000 + b"x", BOUNDS)


def test_a_pdf_is_read_page_by_page() -> None:
    reading = read(pdf_of("The first page.", "The second page."), "application/pdf", BOUNDS)
    assert [(one.page, one.text) for one in reading.passages] == [
        (1, "The first page."),
        (2, "The second page."),
    ]


def test_a_pdf_with_too_many_pages_is_refused() -> None:
    with pytest.raises(UnreadableError, match="2 pages"):
        read(pdf_of("1", "2", "3"), "application/pdf", Bounds(pages=2))


@pytest.mark.parametrize("content", [b"", b"%PDF-1.4", b"%PDF-1.4\n%%EOF", b"nothing"])
def test_a_damaged_pdf_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        read(content, "application/pdf", BOUNDS)


def test_a_pdf_without_text_is_refused() -> None:
    with pytest.raises(UnreadableError, match="no text"):
        read(pdf_of(""), "application/pdf", BOUNDS)


def test_a_media_type_without_a_reader_is_refused() -> None:
    with pytest.raises(UnreadableError):
        read(b"x", "image/png", BOUNDS)


def test_a_text_past_its_bound_is_refused() -> None:
    with pytest.raises(UnreadableError, match="characters"):
        plain.read(b"word " * 100, Bounds(characters=100))
