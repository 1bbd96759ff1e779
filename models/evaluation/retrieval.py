"""Passages for the evaluation: documents cut at headings and paragraphs, found by meaning and by words.

A small stand-alone retriever of the same kind as the memory service's (dense and BM25, reciprocal rank
fusion), so that the answerer is measured on passages as it will meet them. Sources: Robertson and Zaragoza
2009 (BM25), Cormack and others 2009 (fusion).
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.evaluation.questions import contains
from models.extraction.answer import Embed
from models.extraction.evidence import words
from models.prompting import Passage

MAX_CHARACTERS: Final = 700
TOP: Final = 5
_K1: Final = 1.2
_B: Final = 0.75
_FUSION: Final = 60


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One passage of a document; `title` names the document and the headings above."""

    document: str
    title: str
    text: str


def cut(document: str, text: str) -> Iterator[Chunk]:
    """Yield a document's chunks: paragraphs up to `MAX_CHARACTERS`, never across a Markdown heading."""
    title, gathered, fenced = document, "", False
    for paragraph in text.split("\n\n"):
        heading = paragraph.lstrip().startswith("#") and not fenced
        if gathered and (heading or len(gathered) + len(paragraph) > MAX_CHARACTERS):
            yield Chunk(document=document, title=title, text=gathered)
            gathered = ""
        if heading:
            title = f"{document} > {paragraph.strip().splitlines()[0].lstrip('# ')}"
        fenced ^= paragraph.count("```") % 2 == 1
        gathered = f"{gathered}\n\n{paragraph}" if gathered else paragraph
        while len(gathered) > 2 * MAX_CHARACTERS:
            border = gathered.rfind("\n", 0, MAX_CHARACTERS) + 1 or MAX_CHARACTERS
            yield Chunk(document=document, title=title, text=gathered[:border])
            gathered = gathered[border:]
    if gathered.strip():
        yield Chunk(document=document, title=title, text=gathered)


class Index:
    """The chunks of all documents of a set."""

    def __init__(self, documents: dict[str, str], embed: Embed) -> None:
        """Cut and embed the documents."""
        self.chunks = [chunk for name, text in documents.items() for chunk in cut(name, text)]
        self._embed = embed
        self._vectors = embed([f"{chunk.title}: {chunk.text}" for chunk in self.chunks])
        self._words = [Counter(words(f"{chunk.title} {chunk.text}")) for chunk in self.chunks]
        self._length = sum(sum(counts.values()) for counts in self._words) / max(1, len(self._words))
        self._documents_with = Counter(word for counts in self._words for word in counts)

    def search(self, question: str, *, without: str | None = None) -> tuple[Passage, ...]:
        """Return the `TOP` passages; `without` leaves out chunks that hold this span."""
        dense = self._vectors @ self._embed([question])[0]
        sparse = np.array([self._bm25(words(question), counts) for counts in self._words])
        fused = np.zeros(len(self.chunks))
        for scores in (dense, sparse):
            rank = np.empty(len(scores))
            rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
            fused += 1 / (_FUSION + rank)
        found = [self.chunks[i] for i in np.argsort(-fused, kind="stable")]
        kept = [chunk for chunk in found if without is None or not contains(chunk.text, without)]
        return tuple(Passage(label=n, title=c.title, text=c.text) for n, c in enumerate(kept[:TOP], 1))

    def _bm25(self, query: list[str], counts: Counter[str]) -> float:
        size, score = sum(counts.values()), 0.0
        for word in set(query):
            holding = self._documents_with[word]
            rarity = math.log(1 + (len(self.chunks) - holding + 0.5) / (holding + 0.5))
            frequency = counts[word]
            score += rarity * frequency * (_K1 + 1) / (frequency + _K1 * (1 - _B + _B * size / self._length))
        return score
