"""The measures of the model card, over one set of questions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from models.evaluation.questions import Question, QuestionSet, contains, normal
from models.prompting import NO_ANSWER, ExtractPrompt

Answer = Callable[[ExtractPrompt], list[str]]
_LABEL: Final = re.compile(r" \[(\d+)\]\Z")


class Search(Protocol):
    """Finds the passages of a question, in a prompt as the model is sent it."""

    def __call__(self, question: str, *, without: str | None = None) -> ExtractPrompt:
        """Return the prompt; `without` leaves out passages that hold this span."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one question got."""

    question: Question
    retrieved: bool
    answered: bool
    first: bool
    any: bool
    cited: bool
    texts: list[str]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Counts and shares over a set; shares are of answerable questions where nothing else is said."""

    outcomes: list[Outcome]

    def rows(self) -> list[tuple[str, float, str]]:
        """Return (measure, share, counts) in the card's order."""
        asked = [o for o in self.outcomes if o.question.answer is not None]
        empty = [o for o in self.outcomes if o.question.answer is None]
        said = [o for o in asked if o.answered]
        silent = [o for o in self.outcomes if not o.answered]
        spoken = [o for o in self.outcomes if o.answered]
        return [
            _share("answer among the retrieved passages", asked, [o for o in asked if o.retrieved]),
            _share("first sentence holds the answer", asked, [o for o in asked if o.first]),
            _share("some sentence holds the answer", asked, [o for o in asked if o.any]),
            _share("answered at all", asked, said),
            _share("of those answered: some sentence right", said, [o for o in said if o.any]),
            _share(
                "citations that hold their sentence (all answers)", spoken, [o for o in spoken if o.cited]
            ),
            _share("unanswerable, answered so (recall)", empty, [o for o in empty if not o.answered]),
            _share(
                "no-answers that are right (precision)",
                silent,
                [o for o in silent if o.question.answer is None],
            ),
        ]


def table(reports: dict[str, Report]) -> str:
    """Return the measures as a Markdown table, one column a set."""
    lines = [f"| measure | {' | '.join(reports)} |", "|---" * (len(reports) + 1) + "|"]
    columns = [report.rows() for report in reports.values()]
    for cells in zip(*columns, strict=True):
        values = " | ".join(f"{share:.3f} ({counts})" for _, share, counts in cells)
        lines.append(f"| {cells[0][0]} | {values} |")
    return "\n".join(lines)


def misses(report: Report) -> list[str]:
    """Return what went wrong, one text a question."""
    return [
        f"{o.question.id} {o.question.question}\n  {o.question.answer!r}\n"
        f"  retrieved {o.retrieved}: {o.texts}"
        for o in report.outcomes
        if o.answered != (o.question.answer is not None) or (o.answered and not o.first)
    ]


def _share(name: str, of: list[Outcome], those: list[Outcome]) -> tuple[str, float, str]:
    return name, len(those) / len(of) if of else 0.0, f"{len(those)}/{len(of)}"


def measure(questions: QuestionSet, search: Search, answer: Answer) -> Report:
    """Ask every question over the documents of its set and judge the answers."""
    return Report(
        outcomes=[_ask(question, search(question.question), answer) for question in questions.questions]
    )


def _ask(question: Question, prompt: ExtractPrompt, answer: Answer) -> Outcome:
    texts = answer(prompt)
    span = question.answer
    answered = texts != [NO_ANSWER]
    right = [span is not None and answered and holds(text, span) for text in texts]
    return Outcome(
        question=question,
        retrieved=span is not None and any(contains(p.text, span) for p in prompt.passages),
        answered=answered,
        first=right[0],
        any=any(right),
        cited=answered and all(_stands(text, prompt) for text in texts),
        texts=texts,
    )


def holds(sentence: str, span: str) -> bool:
    """Say whether a sentence has the span, marks and white space aside."""
    return normal(span) in normal(_LABEL.sub("", sentence))


def _stands(text: str, prompt: ExtractPrompt) -> bool:
    """Say whether the passage that a text cites has its sentence, letter by letter but for white space."""
    found = _LABEL.search(text)
    cited = next((p.text for p in prompt.passages if found and p.label == int(found[1])), "")
    unquoted = "\n".join(line.lstrip().removeprefix("> ") for line in cited.splitlines())
    sentence = " ".join(_LABEL.sub("", text).split())
    return any(sentence in " ".join(form.split()) for form in (cited, unquoted))
