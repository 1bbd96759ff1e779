"""Chooses the sentences that answer a question, or none.

Two logistic models, fitted by `models.evaluation.fit` and kept in ``scores.json``: one ranks the
candidate sentences, one judges from the best of them whether the passages answer at all.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.extraction.evidence import NAMES, FloatArray, Reading
from models.extraction.sentences import Sentence, split
from models.prompting import NO_ANSWER, ExtractPrompt, cited

Embed = Callable[[Sequence[str]], FloatArray]

MAX_CANDIDATES: Final = 4  # each costs 5 ms where it is new; on the development set more find no more
MAX_SENTENCES: Final = 3
SCORES_FILE: Final = Path(__file__).with_name("scores.json")
ANSWERABLE_NAMES: Final = (
    "best",
    "margin",
    "cosine",
    "overlap",
    "overlap_passage",
    "overlap_all",
    "kind_missing",
    "rarest_missing",
)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The fitted numbers."""

    rank: NDArray[np.float64]
    answerable: NDArray[np.float64]
    answerable_bias: float
    threshold: float
    further: float

    @classmethod
    def load(cls, file: Path = SCORES_FILE) -> "Scores":
        """Read the committed scores; names must be those of the code, so that the two cannot drift apart."""
        values: dict[str, Any] = json.loads(file.read_text())
        return cls(
            rank=np.array([values["rank"][name] for name in NAMES]),
            answerable=np.array([values["answerable"][name] for name in ANSWERABLE_NAMES]),
            answerable_bias=values["answerable_bias"],
            threshold=values["threshold"],
            further=values["further"],
        )


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The candidates of one question with their scores, best first, and the chance that they answer it."""

    sentences: list[Sentence]
    scores: NDArray[np.float64]
    features: NDArray[np.float64]
    evidence: NDArray[np.float64]
    chance: float


def judge(prompt: ExtractPrompt, embed: Embed, scores: Scores) -> Judged | None:
    """Return the judged candidates; None where the passages hold none."""
    sentences = split(prompt.passages)
    reading = Reading.of(prompt.question, prompt.passages, sentences)
    lexical = reading.lexical()
    chosen = sorted(reading.candidates(), key=lambda index: -lexical[index])[:MAX_CANDIDATES]
    if not chosen:
        return None
    vectors = embed([prompt.question, *(sentences[i].text for i in chosen)])
    features = reading.features(chosen, vectors[1:] @ vectors[0])
    values = features @ scores.rank
    order = np.argsort(-values, kind="stable")
    best = sentences[chosen[order[0]]]
    evidence = _evidence(reading, best, values[order], features[order[0]])
    return Judged(
        sentences=[sentences[chosen[i]] for i in order],
        scores=values[order],
        features=features[order],
        evidence=evidence,
        chance=float(1 / (1 + np.exp(-(evidence @ scores.answerable + scores.answerable_bias)))),
    )


def answer(prompt: ExtractPrompt, embed: Embed, scores: Scores) -> list[str]:
    """Return the cited sentences, the best first, or `NO_ANSWER` alone."""
    judged = judge(prompt, embed, scores)
    if judged is None or judged.chance < scores.threshold:
        return [NO_ANSWER]
    near = [
        s
        for s, score in zip(judged.sentences, judged.scores, strict=True)
        if score >= judged.scores[0] - scores.further
    ]
    following = _following(split(prompt.passages))
    texts: list[str] = []
    for sentence in near[:MAX_SENTENCES]:
        for part in (sentence, following.get((sentence.passage, sentence.position))):
            if part is not None and not any(part.text in text for text in texts):
                texts.append(cited(part.text, prompt.passages[part.passage].label))
    return texts


def _following(sentences: list[Sentence]) -> dict[tuple[int, int], Sentence]:
    """Return what follows each sentence that ends in a colon, which only announces what it should say."""
    pairs = pairwise(sentences)
    return {
        (first.passage, first.position): second
        for first, second in pairs
        if first.text.endswith(":") and first.passage == second.passage
    }


def _evidence(
    reading: Reading, best: Sentence, scores: NDArray[np.float64], row: NDArray[np.float64]
) -> NDArray[np.float64]:
    wanted = set(reading.wanted)
    in_passage: set[str] = set()
    anywhere: set[str] = set()
    for sentence, context in zip(reading.sentences, reading.context, strict=True):
        anywhere |= context
        if sentence.passage == best.passage:
            in_passage |= context
    named = dict(zip(NAMES, row, strict=True))
    missing = max((reading.weights(word) for word in wanted - in_passage), default=0.0)
    rarest = max(map(reading.weights, wanted), default=1.0)
    margin = float(scores[0] - scores[1]) if len(scores) > 1 else 1.0
    values = {
        "best": float(scores[0]),
        "margin": margin,
        "cosine": named["cosine"],
        "overlap": named["overlap"],
        "overlap_passage": reading.weights.share(wanted, in_passage),
        "overlap_all": reading.weights.share(wanted, anywhere),
        "kind_missing": named["kind_missing"],
        "rarest_missing": missing / rarest,
    }
    return np.array([values[name] for name in ANSWERABLE_NAMES])
