"""Texts as they are remembered and looked for; page tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.memory.domain import pages, texts
from services.memory.domain.words import WordEncoder


@given(st.text(max_size=3000), st.integers(10, 500))
def test_a_shortened_text_begins_the_text_and_fits(text: str, longest: int) -> None:
    short = texts.shortened(text, longest)
    assert len(short) <= longest
    assert text.strip().startswith(short)


def test_a_text_is_shortened_at_a_sentence() -> None:
    assert texts.shortened("One two three. Four five six. Seven", 31) == "One two three. Four five six."


def test_a_turn_without_words_is_not_remembered() -> None:
    assert texts.of_turn(" ", "answer") == texts.of_turn("said", "\n") == ""


@pytest.mark.parametrize(
    ("given_title", "found", "source", "title"),
    [
        ("Given", "Found", "a/b.md", "Given"),
        (" ", "Found", "a/b.md", "Found"),
        ("", "", "a/b.md", "b.md"),
        ("", "", "https://host/dir/page.html?x=1", "page.html"),
        ("", "", "", "Untitled"),
    ],
)
def test_a_title_is_given_found_or_the_sources(given_title: str, found: str, source: str, title: str) -> None:
    assert texts.title_of(given_title, found, source) == title


def test_a_passage_is_embedded_with_what_stands_above_it() -> None:
    assert texts.of_passage("T", ("T", "S"), "text") == "T > S\ntext"
    assert texts.of_passage("T", ("S",), "text") == "T > S\ntext"
    assert texts.of_passage("", (), "text") == "text"


@given(st.from_regex(r"\Adoc_[0-9a-f]{32}\Z"))
def test_a_page_token_stands_for_its_id(last: str) -> None:
    assert pages.before(pages.after(last), "doc") == last


@given(st.text(max_size=60))
def test_any_other_page_token_is_refused(token: str) -> None:
    if token:
        with pytest.raises(ValueError, match="page token"):
            pages.before(token, "doc")


def test_a_page_token_of_another_list_is_refused() -> None:
    with pytest.raises(ValueError, match="page token"):
        pages.before(pages.after(f"mem_{'0' * 32}"), "doc")


def test_words_are_stemmed_and_folded() -> None:
    words = WordEncoder()
    assert words.query("Running cafes").indices == words.query("run CAF\u00c9").indices
    assert words.query("the of and").indices == ()
    assert set(words.query("ships").indices) <= set(words.text("A ship and many ships.").indices)


def test_a_document_is_known_by_its_source_whatever_its_length() -> None:
    assert texts.document_key("a.md", "d") == "source:a.md"
    assert texts.document_key("", "d") == "sha256:d"
    long = [texts.document_key("\u4e2d" * 2047 + end, "d") for end in "ab"]
    assert len(set(long)) == 2
    assert max(map(len, long)) < 100


def test_a_turn_is_remembered_without_what_no_store_holds() -> None:
    assert texts.of_turn("a\x00b", "c\x00") == "The user said: ab\nThe agent answered: c"
