"""Stop texts are found wherever the stream is cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from models.engine.text import StopMatcher

LETTERS = st.text("ab<|", max_size=30)


def plain(text: str, stops: list[str], *, include: bool) -> tuple[str, bool]:
    """Cut a whole text at its first stop."""
    found = min(((text.find(stop), stop) for stop in stops if stop in text), default=None)
    if found is None:
        return text, False
    return text[: found[0] + (len(found[1]) if include else 0)], True


@given(
    text=LETTERS,
    stops=st.lists(st.text("ab<|", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=8),
    include=st.booleans(),
)
def test_any_cutting_gives_the_text_up_to_a_first_stop(
    text: str, stops: list[str], cuts: list[int], include: bool
) -> None:
    matcher = StopMatcher(stops, include=include)
    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    said, stopped = "", False
    for start, end in pairwise(borders):
        piece, stopped = matcher.push(text[start:end])
        said += piece
        if stopped:
            break
    said += "" if stopped else matcher.flush()
    whole, found = plain(text, stops, include=include)
    assert stopped == found
    if (
        stopped and said != whole
    ):  # a shorter stop that ends earlier may be complete before a longer one begins
        assert any(said == plain(text, [stop], include=include)[0] for stop in stops)
    else:
        assert said == whole


def test_what_cannot_become_a_stop_is_not_held_back() -> None:
    matcher = StopMatcher(["<|im_end|>"], include=False)
    assert matcher.push("hello <") == ("hello ", False)
    assert matcher.push("b") == ("<b", False)
