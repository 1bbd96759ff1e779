"""How long a query takes at 10,000 and 100,000 passages, whole, and whether it finds what is nearest.

`python -m tests.bench.retrieval` prints rows as JSON (see `tests/bench/rows.py`). It needs a running stack
and fills a tenant for each size once, through memory's own ingestion, with the texts and embeddings of
`tests/bench/corpus.py`. The query is embedded by Triton, ranked by meaning and by words, fused, and its
passages are read from Postgres: what a turn waits for. The baseline of the times is the embedding alone,
measured call by call between ours. Questions are made of passages that are not indexed.

recall@10 is against exact search in numpy: cosine over the same embeddings in float32, and the same BM25
weights with the rarity ln(1 + (n - df + 0.5) / (df + 0.5)) over the tenant's passages, both read as deep
and fused as memory does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mesh.runtime import eventloop
from services.memory.domain import ranking, texts
from services.memory.domain.words import WordEncoder, Words
from services.memory.indexing import Indexer
from services.memory.ingestion import Given, Ingestion
from services.memory.reading.blocks import Bounds
from services.memory.reading.document import read
from services.memory.reading.reader import Reader
from services.memory.retrieval import DEPTH
from tests.bench.corpus import QUESTIONS, Document, Kept, KeptEmbedder
from tests.bench.rows import Bound, Row, emit, paired, quantile, single
from tests.bench.target import Target
from tests.integration.memory.parts import Parts, memory_settings, opened, request, tenant

SIZES = {10_000: 25.0, 100_000: 40.0}
TOP = 10
RECALL = Bound(0.98, least=True)
Floats = NDArray[np.float32]


class Exact:
    """Exact search over the passages of some documents."""

    def __init__(self, documents: Sequence[Document], words: WordEncoder) -> None:
        """Keep all vectors, and for each word its passages and weights."""
        self.texts: list[str] = []
        postings: dict[int, list[tuple[int, float]]] = {}
        for one in documents:
            for cut in read(one.content.encode(), "text/markdown", Bounds()).passages:
                written = texts.of_passage(one.title, cut.headings, cut.text)
                told = words.text(written)
                for index, weight in zip(told.indices, told.weights, strict=True):
                    postings.setdefault(index, []).append((len(self.texts), weight))
                self.texts.append(cut.text)
        self._vectors: Floats = np.concatenate([one.vectors for one in documents])
        self._postings = {
            index: (np.array([p for p, _ in found]), np.array([w for _, w in found], np.float32))
            for index, found in postings.items()
        }

    def search(self, meaning: Floats, words: Words, *, limit: int) -> list[str]:
        """Give the texts of the nearest passages."""
        count = len(self.texts)
        near = self._vectors @ meaning
        score = np.zeros(count, np.float32)
        for index in words.indices:
            if index in self._postings:
                places, weights = self._postings[index]
                rarity = np.log(1 + (count - len(places) + 0.5) / (len(places) + 0.5))
                score[places] += weights * np.float32(rarity)
        by_meaning = _first(near, DEPTH)
        by_words = [place for place in _first(score, DEPTH) if score[place] > 0]
        fused = ranking.fuse([f"{p:08}" for p in by_meaning], [f"{p:08}" for p in by_words])
        return [self.texts[int(one.id)] for one in fused[:limit]]


def _first(scores: Floats, count: int) -> list[int]:
    count = min(count, len(scores))
    top = np.argpartition(-scores, count - 1)[:count]
    return [int(place) for place in top[np.argsort(-scores[top], kind="stable")]]


async def fill(parts: Parts, documents: Sequence[Document], reader: Reader) -> int:
    """Ingest what is not there yet; give how many passages the tenant has."""
    page = await parts.ingestion.page(size=1000, token="")
    present = {one.source: one.passage_count for one in page.documents}
    begin, size = time.perf_counter(), sum(present.values())
    embedder = KeptEmbedder(documents, parts.embedder)
    async with Ingestion(
        store=parts.documents,
        indexer=Indexer(embedder=embedder, words=parts.words, vectors=parts.vectors),
        reader=reader,
        publisher=parts.publisher,
        clock=parts.clock,
        most=1,
    ) as ingestion:
        for one in documents:
            if one.source not in present:
                given = Given(
                    title=one.title,
                    source=one.source,
                    media_type="text/markdown",
                    content=one.content.encode(),
                    labels={},
                )
                size += (await ingestion.ingest(given, request=request())).passage_count
    sys.stderr.write(f"{size} passages, {time.perf_counter() - begin:.0f} s\n")
    return size


def questions(documents: Sequence[Document]) -> Iterator[str]:
    """Give questions from documents that are not indexed."""
    for one in documents:
        for cut in read(one.content.encode(), "text/markdown", Bounds()).passages:
            yield f"How does it {' '.join(cut.text.split()[:9]).lower()}?"


async def timed(call: Callable[[str], Awaitable[object]], query: str) -> float:
    """Give the milliseconds of one call."""
    begin = time.perf_counter()
    await call(query)
    return (time.perf_counter() - begin) * 1e3


async def times(parts: Parts, asked: Iterator[str], size: int, *, rounds: int, calls: int) -> list[Row]:
    """Measure the whole road, call by call beside the embedding alone."""

    async def whole(query: str) -> None:
        await parts.retrieval.retrieve(query, limit=TOP, labels={}, document_ids=[])

    async def bare(query: str) -> None:
        await parts.embedder.embed([query])

    ours: list[list[float]] = []
    baseline: list[list[float]] = []
    for number in range(rounds + 1):
        pairs = [(await timed(whole, next(asked)), await timed(bare, next(asked))) for _ in range(calls)]
        if number:  # the first round warms up
            ours.append([one for one, _ in pairs])
            baseline.append([other for _, other in pairs])
    found = []
    for share, words in ((0.5, "p50"), (0.95, "p95")):
        bound = Bound(SIZES[size]) if words == "p95" and size in SIZES else None
        mine, base = ([quantile(one, share) for one in each] for each in (ours, baseline))
        name = (
            f"retrieve {TOP} of {size:,} passages, hybrid, whole road, {words}, against the embedding alone"
        )
        found.append(paired(name, "ms", mine, base, bound=bound))
    return found


async def recall(parts: Parts, exact: Exact, asked: Sequence[str]) -> float:
    """Give the share of the exact search's first passages that memory gives too."""
    hits = wanted = 0
    for query in asked:
        [vector] = await parts.embedder.embed([texts.query(query)])
        best = exact.search(np.asarray(vector, np.float32), parts.words.query(query), limit=TOP)
        given = await parts.retrieval.retrieve(query, limit=TOP, labels={}, document_ids=[])
        hits += len({one.found.text for one in given} & set(best))
        wanted += len(set(best))
    return hits / wanted


async def measure(target: Target, given: argparse.Namespace) -> list[Row]:
    """Fill, measure, and compare, for each size."""
    every = Kept(target.settings).documents(max(given.sizes) + QUESTIONS)
    found: list[Row] = []
    async with (
        opened(memory_settings()) as parts,
        Reader.open(bounds=Bounds(), seconds=30.0, lanes=2, waiting=8) as reader,
    ):
        for wanted in given.sizes:
            documents = list(_until(every, wanted))
            with tenant(f"bench-passages-{wanted}"):
                size = await fill(parts, documents, reader)
                asked = list(islice(questions(every[len(documents) :] or every[-2:]), QUESTIONS))
                endless = iter(asked * (1 + 2 * given.calls * (given.rounds + 1) // len(asked)))
                found += await times(parts, endless, wanted, rounds=given.rounds, calls=given.calls)
                hit = await recall(parts, Exact(documents, parts.words), asked[: given.compared])
                note = f"{size} passages of Python documentation, {given.compared} questions"
                name = f"recall@{TOP} against exact search, {wanted:,} passages"
                found.append(single(name, "share", [hit], bound=RECALL, note=note))
    return found


def _until(documents: Sequence[Document], passages: int) -> Iterator[Document]:
    size = 0
    for one in documents:
        if size >= passages:
            return
        size += len(one.keys)
        yield one


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=60, help="of each kind in a round")
    parser.add_argument("--compared", type=int, default=200, help="questions for recall@10")
    given = parser.parse_args()
    emit(eventloop.run(measure(Target.here(), given)))


if __name__ == "__main__":
    main()
