"""How near a text is to a query: meaning and words, made into one number between 0 and 1.

Two rankings come from the vector store: by meaning (cosine of the embeddings) and by words (BM25,
Robertson and Zaragoza 2009). They are fused by reciprocal rank (Cormack, Clarke and Buettcher,
SIGIR 2009):

    fused(d) = sum over rankings r of  w_r / (K + rank_r(d)),   rank from 1,

divided by its largest value, that of a text which is first in both, so that it lies in (0, 1].
A text that a ranking does not hold gets nothing from it. Ties are broken by id, so that the order
does not depend on the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Small, because both rankings are read only some dozens deep: a first place should count for much.
K: Final = 10
MEANING: Final = 1.0
WORDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A text and its fused score."""

    id: str
    score: float


def fuse(meaning: Sequence[str], words: Sequence[str]) -> list[Ranked]:
    """Fuse two rankings of ids, best first, into one."""
    scores: dict[str, float] = {}
    for weight, ranking in ((MEANING, meaning), (WORDS, words)):
        for rank, identifier in enumerate(ranking, start=1):
            scores[identifier] = scores.get(identifier, 0.0) + weight / (K + rank)
    largest = (MEANING + WORDS) / (K + 1)
    ranked = [Ranked(identifier, score / largest) for identifier, score in scores.items()]
    return sorted(ranked, key=lambda one: (-one.score, one.id))
