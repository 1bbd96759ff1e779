"""What a model is asked: instructions, what was recalled, the conversation, within its window.

Two forms. Extraction has the form of `models.prompting`. Generation is ChatML
for models that take one prompt, and the same messages for providers that take
messages. What does not fit is left out: the oldest messages first, then the
passages that are farthest from the question; never the question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from models.prompting import (
    MAX_PASSAGE_CHARACTERS,
    MAX_QUESTION_CHARACTERS,
    Passage,
    render_extract_prompt,
)
from services.orchestrator.domain.conversation import Said

Count = Callable[[str], int]
_TURN_OPEN: Final = "<|im_start|>"
_TURN_CLOSE: Final = "<|im_end|>"
STOP: Final = (_TURN_CLOSE,)
_TURN_TOKENS: Final = 6  # marks, role and newline of one message, counted high
_EXTRACT_TOKENS: Final = 32  # the frame of an extraction prompt
_PASSAGE_TOKENS: Final = 12  # label, quotes and braces of one passage
_LEAST_ANSWER: Final = 16
_KNOWLEDGE: Final = "Answer from these passages and cite them by number:"


class TooLongError(Exception):
    """What must be in the prompt does not fit."""

    def __init__(self, *, needed: int, window: int) -> None:
        """Keep the figures, in tokens."""
        super().__init__(f"{needed} tokens are needed, {window} are there")
        self.needed = needed
        self.window = window


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A passage or memory to answer from."""

    number: int
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is sent, and what it costs."""

    text: str
    messages: tuple[Said, ...]
    input_tokens: int
    max_tokens: int


def extraction(
    *, question: str, sources: Sequence[Source], window: int, max_tokens: int, count: Count
) -> Prompt:
    """Ask for the sentences of the sources that answer.

    Raises:
        TooLongError: the question alone does not fit.
    """
    asked = _TURN_TOKENS + _EXTRACT_TOKENS + count(question)
    if len(question) > MAX_QUESTION_CHARACTERS or asked + _LEAST_ANSWER > window:
        raise TooLongError(needed=max(asked, len(question) // 4) + _LEAST_ANSWER, window=window)
    room = window - min(max_tokens, window // 2) - asked
    kept: list[Passage] = []
    for source in sources:
        cost = count(source.text) + count(source.title) + _PASSAGE_TOKENS
        if cost > room or len(source.text) > MAX_PASSAGE_CHARACTERS:
            continue
        room -= cost
        asked += cost
        kept.append(Passage(label=source.number, text=source.text, title=source.title))
    return Prompt(
        text=render_extract_prompt(question, kept),
        messages=(),
        input_tokens=asked,
        max_tokens=min(max_tokens, window - asked),
    )


def generation(
    *,
    instructions: str,
    question: str,
    history: Sequence[Said],
    sources: Sequence[Source],
    window: int,
    max_tokens: int,
    count: Count,
) -> Prompt:
    """Ask for words that go on with the conversation.

    Raises:
        TooLongError: instructions and question alone do not fit.
    """
    system = [Said("system", text) for text in (instructions,) if text]
    system += [said for said in history if said.role == "system"]
    fixed = sum(_cost(said, count) for said in (*system, Said("user", question))) + _TURN_TOKENS
    if fixed + _LEAST_ANSWER > window:
        raise TooLongError(needed=fixed + _LEAST_ANSWER, window=window)
    room = window - min(max_tokens, max(_LEAST_ANSWER, (window - fixed) // 2)) - fixed
    spoken, room = _newest(tuple(s for s in history if s.role != "system"), room, count)
    knowledge = _knowledge(sources, room, count)
    messages = (*system, *knowledge, *spoken, Said("user", question))
    text = "".join(_chatml(said) for said in messages) + f"{_TURN_OPEN}assistant\n"
    used = min(count(text), sum(_cost(said, count) for said in messages) + _TURN_TOKENS)
    return Prompt(
        text=text,
        messages=messages,
        input_tokens=used,
        max_tokens=max(1, min(max_tokens, window - used)),
    )


def _newest(history: Sequence[Said], room: int, count: Count) -> tuple[list[Said], int]:
    kept: list[Said] = []
    for said in reversed(history):
        cost = _cost(said, count)
        if cost > room:
            break
        room -= cost
        kept.append(said)
    return kept[::-1], room


def _knowledge(sources: Sequence[Source], room: int, count: Count) -> list[Said]:
    room -= count(_KNOWLEDGE) + _TURN_TOKENS
    lines: list[str] = []
    for source in sources:
        line = f"[{source.number}] {source.title}: {source.text}"
        cost = count(line) + 1
        if cost > room:
            break
        room -= cost
        lines.append(line)
    return [Said("system", "\n".join((_KNOWLEDGE, *lines)))] if lines else []


def _cost(said: Said, count: Count) -> int:
    return count(said.text) + _TURN_TOKENS


def _chatml(said: Said) -> str:
    """One message; its text cannot end it: the marks in it are broken up."""
    text = said.text.replace(_TURN_OPEN, "<| im_start|>").replace(_TURN_CLOSE, "<| im_end|>")
    return f"{_TURN_OPEN}{said.role}\n{text}{_TURN_CLOSE}\n"
