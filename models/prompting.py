"""The form of an extraction prompt: what the orchestrator writes and the model `extract` reads.

A prompt is UTF-8 text of a first line, one line of JSON, and the answer so far (empty in a new turn)::

    soma-extract/1
    {"question":"What listens?","passages":[{"label":1,"title":"","text":"The edge listens."}]}
    The edge listens. [1]

JSON keeps the borders: no text of a user or of a document can end a field, and a newline inside is escaped.
``label`` is the number of the citation, unique in the prompt; ``title`` (may be empty) is where the passage
comes from, such as "First turn > Ports"; passages stand in the order of retrieval, the best first. A
taken-over turn sends the prompt with the text so far appended; the answer goes on behind it.

An answer is sentences verbatim from the passages, each followed by a space and its citation ``[label]``,
separated by spaces; or `NO_ANSWER` alone. This module knows the standard library only, so that services may
import it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

FORMAT: Final = "soma-extract/1"
NO_ANSWER: Final = "None of the retrieved passages answers this question."
MAX_PASSAGES: Final = 32
MAX_QUESTION_CHARACTERS: Final = 4_000
MAX_PASSAGE_CHARACTERS: Final = 20_000


class PromptError(ValueError):
    """A prompt that does not follow the form; the text says where."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One retrieved passage and the number by which an answer cites it."""

    label: int
    text: str
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class ExtractPrompt:
    """A parsed prompt; `answered` is the text so far."""

    question: str
    passages: tuple[Passage, ...]
    answered: str = ""


def render_extract_prompt(question: str, passages: Sequence[Passage]) -> str:
    """Return the prompt; raise `PromptError` for what `parse_extract_prompt` would refuse."""
    _check(question, passages)
    body = {
        "question": question,
        "passages": [{"label": p.label, "title": p.title, "text": p.text} for p in passages],
    }
    return f"{FORMAT}\n{json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n"


def parse_extract_prompt(text: str) -> ExtractPrompt:
    """Return the parts of a prompt; raise `PromptError` where it does not follow the form."""
    first, _, rest = text.partition("\n")
    if first != FORMAT:
        raise PromptError(f"the prompt's first line is not {FORMAT!r}")
    line, separator, answered = rest.partition("\n")
    if not separator:
        raise PromptError("the prompt's second line has no end")
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PromptError("the prompt's second line is not JSON") from error
    if (
        not isinstance(body, dict)
        or set(body) != {"question", "passages"}
        or not isinstance(body["passages"], list)
    ):
        raise PromptError("the prompt's second line must be an object of question and passages")
    passages = tuple(_passage(entry) for entry in body["passages"])
    _check(body["question"], passages)
    return ExtractPrompt(question=body["question"], passages=passages, answered=answered)


def cited(sentence: str, label: int) -> str:
    """Return a sentence with its citation, as answers carry it."""
    return f"{sentence} [{label}]"


def _passage(entry: Any) -> Passage:
    if not isinstance(entry, dict) or not {"label", "text"} <= set(entry) <= {"label", "title", "text"}:
        raise PromptError("a passage must be an object of label, title and text")
    return Passage(label=entry["label"], text=entry["text"], title=entry.get("title", ""))


def _check(question: Any, passages: Sequence[Passage]) -> None:
    if not isinstance(question, str) or not question.strip():
        raise PromptError("the question is empty or not a text")
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise PromptError(f"the question has more than {MAX_QUESTION_CHARACTERS} characters")
    if len(passages) > MAX_PASSAGES:
        raise PromptError(f"there are more than {MAX_PASSAGES} passages")
    for passage in passages:
        if not isinstance(passage.label, int) or isinstance(passage.label, bool) or passage.label < 1:
            raise PromptError("a passage's label must be a whole number from 1")
        if not isinstance(passage.text, str) or not isinstance(passage.title, str):
            raise PromptError(f"passage {passage.label} has a text or title that is not a text")
        if len(passage.text) > MAX_PASSAGE_CHARACTERS:
            raise PromptError(f"passage {passage.label} has more than {MAX_PASSAGE_CHARACTERS} characters")
    if len({passage.label for passage in passages}) != len(passages):
        raise PromptError("two passages have the same label")
