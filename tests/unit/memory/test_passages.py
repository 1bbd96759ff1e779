"""Cutting documents into passages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.memory.reading import markdown, plain
from services.memory.reading.blocks import Block, Bounds, UnreadableError, assemble
from services.memory.reading.passages import LARGEST, SMALLEST, cut, tokens

BOUNDS = Bounds()
WORDS = st.text(alphabet="abcdefghij .!?,\n\u00e9\u4e2d", min_size=1, max_size=600)
HEADINGS = st.lists(st.text(alphabet="ABC ", min_size=1, max_size=8), max_size=2).map(tuple)
BLOCKS = st.lists(
    st.builds(
        Block, text=WORDS.map(str.strip), headings=HEADINGS, page=st.integers(0, 2), tight=st.booleans()
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(BLOCKS)
def test_every_passage_is_a_slice_under_one_heading_and_nothing_is_lost(blocks: list[Block]) -> None:
    try:
        draft = assemble("title", blocks, BOUNDS)
    except UnreadableError:
        assert not any(one.text for one in blocks)
        return
    found = cut(draft, BOUNDS)
    assert found == cut(draft, BOUNDS)
    covered: set[int] = set()
    for one in found:
        assert one.text == draft.text[one.start : one.end]
        assert one.text.strip()
        assert tokens(one.text) <= LARGEST + 1
        assert not covered & set(range(one.start, one.end))
        covered |= set(range(one.start, one.end))
        within = [p for p in draft.blocks if p.start < one.end and one.start < p.end]
        assert {(p.block.headings, p.block.page) for p in within} == {(one.headings, one.page)}
    # What no passage covers is white space, or marks that close a sentence before it.
    for place, character in enumerate(draft.text):
        if character.isalnum():
            assert place in covered


def test_paragraphs_of_a_section_share_a_passage_until_it_is_full() -> None:
    text = "\n\n".join(f"Paragraph {number} says that the tide comes in at six." for number in range(30))
    found = cut(plain.read(text.encode(), BOUNDS), BOUNDS)
    assert 1 < len(found) < 10
    assert all(tokens(one.text) >= SMALLEST for one in found)


def test_a_section_of_its_own_is_a_passage_of_its_own() -> None:
    source = b"# A\n\nOne.\n\n## B\n\nTwo.\n\n# C\n\nThree.\n"
    found = cut(markdown.read(source, BOUNDS), BOUNDS)
    assert [(one.headings, one.text) for one in found] == [
        (("A",), "One."),
        (("A", "B"), "Two."),
        (("C",), "Three."),
    ]


def test_a_word_without_end_is_cut() -> None:
    found = cut(plain.read(b"x" * 20_000, BOUNDS), BOUNDS)
    assert len(found) > 10
    assert "".join(one.text for one in found) == "x" * 20_000


def test_too_many_passages_are_refused() -> None:
    text = "\n\n".join(f"# {number}\n\ntext {number}" for number in range(30))
    draft = markdown.read(text.encode(), BOUNDS)
    assert len(cut(draft, Bounds(passages=30))) == 30
    with pytest.raises(UnreadableError, match="29 passages"):
        cut(draft, Bounds(passages=29))


def test_each_line_of_code_is_still_seen_to_be_code_wherever_a_passage_ends() -> None:
    lines = [f"soma logs orchestrator --since {number}h  # see what it did" for number in range(40)]
    source = "\n".join(["Run `soma logs`:", "", "```sh", *lines, "```", "", "Then read."])
    found = cut(markdown.read(source.encode(), BOUNDS), BOUNDS)
    assert len(found) > 2
    said = [line for one in found for line in one.text.splitlines() if line]
    assert said == ["Run `soma logs`:", *(f"    {line}" for line in lines), "Then read."]
