"""Texts as weighted words: BM25 (Robertson and Zaragoza 2009), split between text and query.

A text's weight of a word is its saturated frequency, normalised by length; a query's is 1. The
vector store multiplies both with the word's rarity (IDF). Words are stemmed and numbered by a hash,
so that no vocabulary is kept. Made by Qdrant's own encoder, which is what its server would use.
"""

from __future__ import annotations

from dataclasses import dataclass

import qdrant_edge

K1 = 1.2
B = 0.75
AVERAGE_WORDS = 70.0
"""Words in a passage of the usual length, with its headings."""


@dataclass(frozen=True, slots=True)
class Words:
    """A sparse vector: numbers of words and their weights."""

    indices: tuple[int, ...]
    weights: tuple[float, ...]


class WordEncoder:
    """Turns texts and queries into words."""

    def __init__(self) -> None:
        self._model = qdrant_edge.Bm25(
            qdrant_edge.Bm25Config(
                k=K1, b=B, avg_len=AVERAGE_WORDS, language="english", lowercase=True, ascii_folding=True
            )
        )

    def text(self, text: str) -> Words:
        """Give the words of a text that is to be found."""
        return _words(self._model.embed_document(text))

    def query(self, text: str) -> Words:
        """Give the words of a query, each with weight 1."""
        return _words(self._model.embed_query(text))


def _words(vector: qdrant_edge.SparseVector) -> Words:
    return Words(tuple(vector.indices), tuple(vector.values))
