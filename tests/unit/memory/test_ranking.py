"""Fusing two rankings into one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.memory.domain.ranking import fuse

RANKING = st.lists(st.text(alphabet="abcdef", min_size=1, max_size=2), unique=True, max_size=12)


@given(RANKING, RANKING)
def test_scores_fall_from_one_and_hold_every_text_once(meaning: list[str], words: list[str]) -> None:
    found = fuse(meaning, words)
    scores = [one.score for one in found]
    assert {one.id for one in found} == {*meaning, *words}
    assert len(found) == len({one.id for one in found})
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


@given(RANKING, RANKING)
def test_who_is_better_in_both_is_better_in_sum(meaning: list[str], words: list[str]) -> None:
    place = {one.id: number for number, one in enumerate(fuse(meaning, words))}
    for one in set(meaning) & set(words):
        for other in set(meaning) & set(words):
            if meaning.index(one) < meaning.index(other) and words.index(one) < words.index(other):
                assert place[one] < place[other]


def test_the_first_of_both_scores_one_and_the_first_of_one_a_half() -> None:
    assert fuse(["a"], ["a"])[0].score == 1.0
    assert [one.score for one in fuse(["a"], ["b"])] == [0.5, 0.5]


def test_equal_scores_stand_in_the_order_of_their_ids() -> None:
    assert [one.id for one in fuse(["b"], ["a"])] == ["a", "b"]
