"""The question sets and their documents, with the check that every answer really stands where it is said to.

Documents that are not ours are the descriptions of packages that requirements/dev.lock pins: they are read
from the environment and compared with a recorded sha256, so that nobody measures on another text without
notice.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_string
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
EXTERNAL: Final = ("development", "held_out")
PROJECT: Final = "project"
MARKDOWN: Final = "text/markdown"
SETS: Final = (*EXTERNAL, PROJECT)
_WORD: Final = re.compile(r"\w+")


class DriftError(Exception):
    """A document or an answer is not what the set was written for; the text lists each case."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question; `answer` is a span of its document, None where no document of the set answers."""

    id: str
    document: str | None
    question: str
    answer: str | None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A document as it is ingested."""

    media_type: str
    text: str


@dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Questions with the documents that are searched for all of them together."""

    name: str
    questions: list[Question]
    documents: dict[str, Source]


def load(name: str) -> QuestionSet:
    """Return a set; raise `DriftError` where a document or an answer span is not there."""
    lines = (HERE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [Question(**json.loads(line)) for line in lines]
    documents = _project_documents() if name == PROJECT else _packages(name)
    drifted = [
        f"{q.id}: {q.answer!r} is not in {q.document}"
        for q in questions
        if q.answer is not None
        and not (q.document in documents and contains(documents[q.document].text, q.answer))
    ]
    if drifted:
        raise DriftError("\n".join(drifted))
    return QuestionSet(name=name, questions=questions, documents=documents)


def normal(text: str) -> str:
    """Return a text's words with one space between them, the form in which spans are compared.

    A reader of documents drops marks (of tables, of emphasis) and breaks lines elsewhere; words stay.
    """
    return f" {' '.join(_WORD.findall(text))} "


def contains(text: str, span: str) -> bool:
    """Say whether `span` stands in `text`, marks and white space aside."""
    return normal(span) in normal(text)


def _project_documents() -> dict[str, Source]:
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return {
        str(file.relative_to(ROOT)): Source(media_type=MARKDOWN, text=file.read_text(encoding="utf-8"))
        for file in sorted(files)
    }


def _packages(name: str) -> dict[str, Source]:
    sources = json.loads((HERE / f"{name}.documents.json").read_text(encoding="utf-8"))
    documents: dict[str, Source] = {}
    drifted: list[str] = []
    for key, source in sources.items():
        try:
            text = distribution(source["distribution"]).read_text(source["file"]) or ""
        except PackageNotFoundError:
            text = ""
        if hashlib.sha256(text.encode()).hexdigest() != source["sha256"]:
            drifted.append(
                f"{key}: {source['distribution']} {source['version']} is not installed as recorded"
            )
        message = message_from_string(text)
        told = str(message.get("Description-Content-Type", "")).partition(";")[0]
        media_type = MARKDOWN if told == MARKDOWN else "text/plain"  # nothing reads reStructuredText
        documents[key] = Source(media_type=media_type, text=str(message.get_payload()))
    _refuse(drifted)
    return documents


def _refuse(drifted: Sequence[str]) -> None:
    if drifted:
        raise DriftError("\n".join(drifted))
