"""The measures of the model card, over one set of questions."""

from dataclasses import dataclass

from models.evaluation.questions import Question, QuestionSet, contains, normal
from models.evaluation.retrieval import Index
from models.extraction.answer import Embed, Scores, answer
from models.prompting import NO_ANSWER, ExtractPrompt, Passage


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


def _share(name: str, of: list[Outcome], those: list[Outcome]) -> tuple[str, float, str]:
    return name, len(those) / len(of) if of else 0.0, f"{len(those)}/{len(of)}"


def measure(questions: QuestionSet, embed: Embed, scores: Scores) -> Report:
    """Ask every question over the documents of its set and judge the answers."""
    index = Index(questions.documents, embed)
    return Report(
        outcomes=[
            _ask(question, index.search(question.question), embed, scores) for question in questions.questions
        ]
    )


def _ask(question: Question, passages: tuple[Passage, ...], embed: Embed, scores: Scores) -> Outcome:
    texts = answer(ExtractPrompt(question=question.question, passages=passages), embed, scores)
    span = question.answer
    answered = texts != [NO_ANSWER]
    right = [span is not None and answered and holds(text, span) for text in texts]
    return Outcome(
        question=question,
        retrieved=span is not None and any(contains(p.text, span) for p in passages),
        answered=answered,
        first=right[0],
        any=any(right),
        cited=answered and all(_stands(text, passages) for text in texts),
        texts=texts,
    )


def holds(sentence: str, span: str) -> bool:
    """Say whether a sentence has the span, line breaks aside."""
    return normal(span) in normal(sentence)


def _stands(text: str, passages: tuple[Passage, ...]) -> bool:
    """Say whether the passage that a text cites has its sentence, line breaks and marks of quoting aside."""
    sentence, _, label = text.rpartition(" [")
    cited = next((p.text for p in passages if f"{p.label}]" == label), "")
    unquoted = "\n".join(line.lstrip().removeprefix("> ") for line in cited.splitlines())
    return contains(cited, sentence) or contains(unquoted, sentence)
