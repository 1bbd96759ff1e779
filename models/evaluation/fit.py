"""Fits ``extraction/scores.json`` on the development set; ``python -m tests.bench.answers --fit`` runs it.

Ranking: list-wise softmax over the candidates of each answerable question (Cao and others 2007), ridge
penalty, gradient descent. Answerability: logistic regression with a ridge penalty by Newton's method. Its
examples are the questions as they are, and each answerable one once more with the passages that hold its
answer taken away, so that passages on the subject that do not answer are learnt too. The threshold maximises
a weighted mean of recalls on folds that were left out. Nothing is drawn at random: the same inputs give the
same file.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.measure import Search, holds
from models.evaluation.questions import Question
from models.extraction.answer import ANSWERABLE_NAMES, MAX_SENTENCES, Embed, Judged, Scores, judge
from models.extraction.evidence import NAMES
from models.prompting import ExtractPrompt

Matrix = NDArray[np.float64]

RIDGE_RANK: Final = 0.1
RIDGE_ANSWERABLE: Final = 1.0
FOLDS: Final = 5
FURTHER_CANDIDATES: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
GAIN_PER_SENTENCE: Final = 0.15
WORTH: Final = (0.45, 0.45, 0.1)
"""Of an answer found, of silence where no document answers, of silence where no retrieved passage does."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One prompt and whether its passages hold the answer."""

    question: Question
    prompt: ExtractPrompt
    answerable: bool


def examples(search: Search, questions: list[Question]) -> list[Example]:
    """Return each question as it is, and each answerable one without its answer."""
    made: list[Example] = []
    for question in questions:
        spans = [None] if question.answer is None else [None, question.answer]
        for without in spans:
            prompt = search(question.question, without=without)
            found = question.answer is not None and without is None
            made.append(Example(question=question, prompt=prompt, answerable=found))
    return made


def fit_rank(lists: list[tuple[Matrix, NDArray[np.bool_]]]) -> Matrix:
    """Return weights that put the right candidates on top; each list is (features [n, f], right [n])."""
    spread = _spread(np.concatenate([features for features, _ in lists]))
    scaled = [(features / spread, right) for features, right in lists]
    weights = np.zeros(len(NAMES))
    for step in range(3000):
        gradient = RIDGE_RANK * weights
        for features, right in scaled:
            chances = _softmax(features @ weights)
            held = chances * right
            gradient += (chances - held / held.sum()) @ features / len(lists)
        weights -= (0.5 if step < 2000 else 0.1) * gradient
    return np.asarray(weights / spread)


def fit_logistic(features: Matrix, right: NDArray[np.bool_]) -> tuple[Matrix, float]:
    """Return (weights, bias) of a ridge-penalised logistic regression, classes weighted alike."""
    spread = _spread(features)
    x = np.column_stack([features / spread, np.ones(len(features))])
    balance = np.where(right, 0.5 / right.mean(), 0.5 / (~right).mean())
    ridge = np.diag([RIDGE_ANSWERABLE] * features.shape[1] + [0.0])
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        chances = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (balance * (chances - right)) + ridge @ weights
        curvature = (x * (balance * chances * (1 - chances))[:, None]).T @ x + ridge
        weights -= np.linalg.solve(curvature, gradient)
    return weights[:-1] / spread, float(weights[-1])


def choose_threshold(
    features: Matrix, right: NDArray[np.bool_], groups: NDArray[np.int64], robbed: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return (threshold, value) from chances of examples whose question was left out of the fit.

    The value is the recalls weighted by `WORTH`. To miss an answer and to give one where there is none weigh
    alike; a sentence near the subject does little harm, for its citation shows what it is.
    """
    chances = np.zeros(len(right))
    for fold in range(FOLDS):
        out = groups % FOLDS == fold
        weights, bias = fit_logistic(features[~out], right[~out])
        chances[out] = 1 / (1 + np.exp(-(features[out] @ weights + bias)))
    candidates = np.round(np.arange(0.2, 0.8, 0.01), 2)
    empty = ~right & ~robbed
    recalls = [
        float(
            np.dot(
                WORTH,
                [(chances[right] >= t).mean(), (chances[empty] < t).mean(), (chances[robbed] < t).mean()],
            )
        )
        for t in candidates
    ]
    best = int(np.argmax(recalls))
    return float(candidates[best]), float(recalls[best])


def choose_further(lists: list[tuple[Matrix, NDArray[np.bool_]]]) -> float:
    """Return the score distance to the best up to which further sentences are said.

    Another sentence must pay: each on the average answer has to make `GAIN_PER_SENTENCE` more answers right.
    """
    values = []
    for further in FURTHER_CANDIDATES:
        right, said = 0, 0
        for scores, labels in lists:
            order = np.argsort(-scores, kind="stable")[:MAX_SENTENCES]
            taken = [i for i in order if scores[i] >= scores[order[0]] - further]
            right += bool(labels[taken].any())
            said += len(taken)
        values.append((right - GAIN_PER_SENTENCE * said) / len(lists))
    return FURTHER_CANDIDATES[int(np.argmax(values))]


def fit(questions: list[Question], search: Search, embed: Embed) -> dict[str, Any]:
    """Return the content of ``scores.json``."""
    made = examples(search, questions)
    zero = Scores(
        rank=np.zeros(len(NAMES)),
        answerable=np.zeros(len(ANSWERABLE_NAMES)),
        answerable_bias=0,
        threshold=0,
        further=0,
    )
    lists = []
    for example in made:
        judged = judge(example.prompt, embed, zero) if example.answerable else None
        right = _right(judged, example.question) if judged else np.zeros(0, bool)
        if judged and right.any():
            lists.append((judged.features, right))
    rank = fit_rank(lists)
    ranked = Scores(rank=rank, answerable=zero.answerable, answerable_bias=0, threshold=0, further=0)
    rows, labels, groups, robbed = [], [], [], []
    for example in made:
        judged = judge(example.prompt, embed, ranked)
        if judged:
            rows.append(judged.evidence)
            labels.append(example.answerable and bool(_right(judged, example.question).any()))
            robbed.append(not labels[-1] and example.question.answer is not None)
            groups.append(int(example.question.id.rsplit("-", 1)[1]))
    features, right = np.array(rows), np.array(labels)
    weights, bias = fit_logistic(features, right)
    threshold, recall = choose_threshold(features, right, np.array(groups), np.array(robbed))
    print(f"lists {len(lists)}, examples {len(rows)}, answerable {int(right.sum())}, value {recall:.3f}")
    further = choose_further([(f @ rank, r) for f, r in lists])
    return {
        "rank": dict(zip(NAMES, np.round(rank, 4).tolist(), strict=True)),
        "answerable": dict(zip(ANSWERABLE_NAMES, np.round(weights, 4).tolist(), strict=True)),
        "answerable_bias": round(bias, 4),
        "threshold": threshold,
        "further": further,
    }


def _right(judged: Judged, question: Question) -> NDArray[np.bool_]:
    return np.array(
        [question.answer is not None and holds(s.text, question.answer) for s in judged.sentences]
    )


def _spread(features: Matrix) -> Matrix:
    """Return the standard deviations, 1 where a feature is constant: a ridge is fair on one scale only."""
    spread = features.std(0)
    spread[spread == 0] = 1
    return np.asarray(spread)


def _softmax(values: Matrix) -> Matrix:
    weights = np.exp(values - values.max())
    return np.asarray(weights / weights.sum())
