"""What the persona `guide` answers, measured on the real road of its knowledge.

`python -m tests.bench.answers` prints the table of the model card. It needs a running stack
(`SOMA_TEST_HOME`, or `SOMA_HOME` with `SOMA_PORT_BASE`). The documents of a set go through memory's
ingestion into a tenant of their own, each question through memory's retrieval and the orchestrator's
prompt, and the model `extract` of the stack's Triton answers.

`--fit` fits the scores on the development set instead, with the encoder of `--models` in this process, and
writes them; `--keep FILE` keeps what was retrieved, so that it is retrieved once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from mesh.inference.ports import GenerationRequest, Sampling
from mesh.inference.triton import Triton
from mesh.runtime import eventloop
from models.evaluation.encoder import Encoder
from models.evaluation.fit import fit
from models.evaluation.measure import Answer, Report, measure, misses, table
from models.evaluation.questions import SETS, Question, QuestionSet, contains, load
from models.extraction.answer import SCORES_FILE, Scores, answer
from models.prompting import ExtractPrompt, Passage, parse_extract_prompt
from models.serving.cache import VectorCache
from services.memory.domain.resources import Passage as Found
from services.memory.ingestion import Given
from services.memory.reading.blocks import Bounds
from services.memory.reading.document import read
from services.orchestrator.config import Settings as Orchestrator
from services.orchestrator.domain.prompt import Source, extraction
from tests.integration.memory.parts import Parts, memory_settings, opened, request, tenant

PASSAGES: Final = int(Orchestrator.model_fields["passages"].default)
SPARE: Final = 6  # for questions whose answer is taken away
WINDOW: Final = 16_384
Retrieved = dict[str, list[Source]]


def as_read(questions: QuestionSet) -> QuestionSet:
    """Return the set with its spans as memory reads them, without the marks of their format."""
    made = []
    for question in questions.questions:
        span = question.answer
        if span is not None and question.document is not None:
            media_type = questions.documents[question.document].media_type
            span = "\n".join(cut.text for cut in read(span.encode(), media_type, Bounds()).passages) or span
        made.append(
            Question(id=question.id, document=question.document, question=question.question, answer=span)
        )
    return QuestionSet(name=questions.name, questions=made, documents=questions.documents)


async def retrieve(parts: Parts, questions: QuestionSet) -> Retrieved:
    """Ingest the documents of a set and retrieve for each of its questions."""
    with tenant():
        made = [
            await parts.ingestion.ingest(
                Given(
                    title="",
                    source=name if name.endswith(".md") else f"{name}.md",
                    media_type=source.media_type,
                    content=source.text.encode(),
                    labels={},
                ),
                request=request(),
            )
            for name, source in questions.documents.items()
        ]
        found: Retrieved = {}
        for question in questions.questions:
            passages = await parts.retrieval.retrieve(
                question.question, limit=PASSAGES + SPARE, labels={}, document_ids=[]
            )
            found[question.question] = [_source(one.found) for one in passages]
        for document in made:
            await parts.ingestion.delete(document.id)
    return found


def _source(passage: Found) -> Source:
    """Write a passage's title as the orchestrator does."""
    title = " > ".join(dict.fromkeys((passage.title, *passage.headings)))
    return Source(number=0, title=title, text=passage.text)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Prompts from what was retrieved, as the orchestrator assembles them."""

    found: Retrieved

    def __call__(self, question: str, *, without: str | None = None) -> ExtractPrompt:
        """Return the prompt; `without` leaves out passages that hold this span."""
        kept = [one for one in self.found[question] if without is None or not contains(one.text, without)]
        numbered = [
            Source(number=number, title=one.title, text=one.text)
            for number, one in enumerate(kept[:PASSAGES], start=1)
        ]
        made = extraction(
            question=question, sources=numbered, window=WINDOW, max_tokens=1024, count=lambda t: len(t) // 4
        )
        return parse_extract_prompt(made.text)


class Served:
    """The model `extract` of the stack, a sentence a delta."""

    def __init__(self, triton: Triton) -> None:
        """Ask this server."""
        self._triton = triton

    async def all(self, prompts: Sequence[str]) -> Mapping[str, list[str]]:
        """Return the answers of these prompts, asked one after the other."""
        return {prompt: await self._one(prompt) for prompt in prompts}

    async def _one(self, prompt: str) -> list[str]:
        asked = GenerationRequest(model="extract", prompt=prompt, sampling=Sampling(max_tokens=1024))
        return [chunk.text.strip() async for chunk in self._triton.stream(asked) if chunk.text]


def _rendered(question: str, passages: Sequence[Passage]) -> str:
    sources = [Source(number=p.label, title=p.title, text=p.text) for p in passages]
    return extraction(
        question=question, sources=sources, window=WINDOW, max_tokens=1024, count=lambda t: len(t) // 4
    ).text


async def served(triton: Triton, questions: QuestionSet, search: Retrieval) -> Answer:
    """Ask the served model everything and return its answers."""
    asked = [search(question.question) for question in questions.questions]
    texts = await Served(triton).all([_rendered(one.question, one.passages) for one in asked])
    return lambda prompt: texts[_rendered(prompt.question, prompt.passages)]


def _kept(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


async def found_of(names: Sequence[str], keep: Path | None) -> dict[str, Retrieved]:
    """Return what is retrieved for these sets; from `keep` where it was kept."""
    kept: dict[str, Any] = await asyncio.to_thread(_kept, keep) if keep else {}
    found = {
        name: {question: [Source(**one) for one in sources] for question, sources in questions.items()}
        for name, questions in kept.items()
    }
    missing = [name for name in names if name not in found]
    if missing:
        async with opened(memory_settings()) as parts:
            for name in missing:
                found[name] = await retrieve(parts, load(name))
    if keep and missing:
        as_json = json.dumps(found, default=lambda s: {"number": 0, "title": s.title, "text": s.text})
        await asyncio.to_thread(keep.write_text, as_json)
    return found


async def _main(options: argparse.Namespace) -> None:
    names = ["development"] if options.fit else options.sets
    found = await found_of(names, options.keep)
    sets = {name: as_read(load(name)) for name in names}
    searches = {name: Retrieval(found[name]) for name in names}
    embed = VectorCache(Encoder(options.models), entries=100_000) if options.fit or options.here else None
    if options.fit and embed:
        scores = fit(sets["development"].questions, searches["development"], embed)
        await asyncio.to_thread(SCORES_FILE.write_text, json.dumps(scores, indent=2) + "\n")
        return
    here = partial(answer, embed=embed, scores=Scores.load()) if embed else None
    reports: dict[str, Report] = {}
    async with Triton.open(memory_settings().triton_url) as triton:
        for name in names:
            asked: Answer = here or await served(triton, sets[name], searches[name])
            reports[name] = measure(sets[name], searches[name], asked)
    sys.stdout.write(table(reports) + "\n")
    if options.misses:
        sys.stdout.write("\n".join(text for report in reports.values() for text in misses(report)) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--fit", action="store_true", help="fit the scores on the development set")
    parser.add_argument("--here", action="store_true", help="answer in this process, not in Triton")
    parser.add_argument("--models", type=Path, help="a tree of models.build, for --fit and --here")
    parser.add_argument("--keep", type=Path, help="a file that keeps what was retrieved")
    parser.add_argument("--misses", action="store_true", help="print what went wrong")
    eventloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
