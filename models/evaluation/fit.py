"""Fits the numbers of ``extraction/scores.json`` on the development set: ``python -m models.evaluation.fit --tree DIR``.

Ranking: list-wise softmax over the candidates of each answerable question (Cao and others 2007), ridge penalty,
gradient descent. Answerability: logistic regression with a ridge penalty by Newton's method. Its examples are the
questions as they are, and each answerable one once more with the passages that hold its answer taken away, so that
passages on the subject that do not answer are learnt too. The threshold maximises the mean of both classes' recall
on folds that were left out. Nothing is drawn at random: the same inputs give the same file.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.encoder import Encoder
from models.evaluation.measure import holds
from models.evaluation.questions import Question, load
from models.evaluation.retrieval import Index
from models.extraction.answer import ANSWERABLE_NAMES, SCORES_FILE, Judged, Scores, judge
from models.extraction.evidence import NAMES
from models.prompting import ExtractPrompt
from models.serving.cache import VectorCache

Matrix = NDArray[np.float64]

RIDGE_RANK: Final = 0.02
RIDGE_ANSWERABLE: Final = 1.0
FOLDS: Final = 5
FURTHER: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Example:
    """One prompt and whether its passages hold the answer."""

    question: Question
    prompt: ExtractPrompt
    answerable: bool


def examples(index: Index, questions: list[Question]) -> list[Example]:
    """Return each question as it is, and each answerable one without its answer."""
    made: list[Example] = []
    for question in questions:
        spans = [None] if question.answer is None else [None, question.answer]
        for without in spans:
            passages = index.search(question.question, without=without)
            prompt = ExtractPrompt(question=question.question, passages=passages)
            found = question.answer is not None and without is None
            made.append(Example(question=question, prompt=prompt, answerable=found))
    return made


def fit_rank(lists: list[tuple[Matrix, NDArray[np.bool_]]]) -> Matrix:
    """Return weights that put the right candidates on top; each list is (features [n, f], right [n])."""
    weights = np.zeros(len(NAMES))
    for step in range(4000):
        gradient = RIDGE_RANK * weights
        for features, right in lists:
            chances = _softmax(features @ weights)
            held = chances * right
            gradient += (chances - held / held.sum()) @ features / len(lists)
        weights -= (1.0 if step < 3000 else 0.2) * gradient
    return weights


def fit_logistic(features: Matrix, right: NDArray[np.bool_]) -> tuple[Matrix, float]:
    """Return (weights, bias) of a ridge-penalised logistic regression, classes weighted alike."""
    x = np.column_stack([features, np.ones(len(features))])
    balance = np.where(right, 0.5 / right.mean(), 0.5 / (~right).mean())
    ridge = np.diag([RIDGE_ANSWERABLE] * features.shape[1] + [0.0])
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        chances = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (balance * (chances - right)) + ridge @ weights
        curvature = (x * (balance * chances * (1 - chances))[:, None]).T @ x + ridge
        weights -= np.linalg.solve(curvature, gradient)
    return weights[:-1], float(weights[-1])


def choose_threshold(features: Matrix, right: NDArray[np.bool_], groups: NDArray[np.int64]) -> tuple[float, float]:
    """Return (threshold, mean recall) from chances of examples whose question was left out of the fit."""
    chances = np.zeros(len(right))
    for fold in range(FOLDS):
        out = groups % FOLDS == fold
        weights, bias = fit_logistic(features[~out], right[~out])
        chances[out] = 1 / (1 + np.exp(-(features[out] @ weights + bias)))
    candidates = np.round(np.arange(0.2, 0.8, 0.01), 2)
    recalls = [((chances[right] >= t).mean() + (chances[~right] < t).mean()) / 2 for t in candidates]
    best = int(np.argmax(recalls))
    return float(candidates[best]), float(recalls[best])


def fit(tree: Path) -> dict[str, Any]:
    """Return the content of ``scores.json``."""
    embed = VectorCache(Encoder(tree), entries=100_000)
    questions = load("development")
    made = examples(Index(questions.documents, embed), questions.questions)
    zero = Scores(
        rank=np.zeros(len(NAMES)), answerable=np.zeros(len(ANSWERABLE_NAMES)), answerable_bias=0, threshold=0, further=FURTHER
    )
    lists = []
    for example in made:
        judged = judge(example.prompt, embed, zero) if example.answerable else None
        right = _right(judged, example.question) if judged else np.zeros(0, bool)
        if judged and right.any():
            lists.append((judged.features, right))
    rank = fit_rank(lists)
    ranked = Scores(rank=rank, answerable=zero.answerable, answerable_bias=0, threshold=0, further=FURTHER)
    rows, labels, groups = [], [], []
    for example in made:
        judged = judge(example.prompt, embed, ranked)
        if judged:
            rows.append(judged.evidence)
            labels.append(example.answerable and bool(_right(judged, example.question).any()))
            groups.append(int(example.question.id.rsplit("-", 1)[1]))
    features, right = np.array(rows), np.array(labels)
    weights, bias = fit_logistic(features, right)
    threshold, recall = choose_threshold(features, right, np.array(groups))
    print(f"lists {len(lists)}, examples {len(rows)} ({int(right.sum())} answerable), left-out recall {recall:.3f}")
    return {
        "rank": dict(zip(NAMES, np.round(rank, 4).tolist(), strict=True)),
        "answerable": dict(zip(ANSWERABLE_NAMES, np.round(weights, 4).tolist(), strict=True)),
        "answerable_bias": round(bias, 4),
        "threshold": threshold,
        "further": FURTHER,
    }


def _right(judged: Judged, question: Question) -> NDArray[np.bool_]:
    return np.array([question.answer is not None and holds(s.text, question.answer) for s in judged.sentences])


def _softmax(values: Matrix) -> Matrix:
    weights = np.exp(values - values.max())
    return np.asarray(weights / weights.sum())


def main() -> None:
    """Fit and write the file."""
    parser = argparse.ArgumentParser(description="fit the extractive answerer on the development set")
    parser.add_argument("--tree", type=Path, required=True, help="a tree of models.build")
    options = parser.parse_args()
    SCORES_FILE.write_text(json.dumps(fit(options.tree), indent=2) + "\n")


if __name__ == "__main__":
    main()
