"""Numbers that speak for or against a sentence: meaning, shared words, what the question asks for."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.extraction.sentences import Sentence
from models.prompting import Passage

FloatArray = NDArray[np.float32]

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*|\d+(?:\.\d+)*")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_STOP: Final = frozenset(
    """
    a about after all also an and any are as at be because been before being between both but by can
    could did do does doing done for from get gets had has have having how i if in into is it its itself
    kind may me might more most much must my no nor not of on once one only or other our out over own
    per same shall she should so some such than that the their them then there these they this those
    through to too under until up use used uses using very was we were what when where whether which
    while who whom whose why will with would you your name tell give happens happen mean means
    """.split()  # noqa: SIM905  # a list of words, one a line, would hide the code
)
_CLOSING: Final = "\"'”’)]*`_"  # noqa: RUF001  # a typographic quote is meant
_SUFFIXES: Final = ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "ed", "es", "er", "ly", "s")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of question and what an answer of it shows."""

    asks: re.Pattern[str]
    shows: re.Pattern[str]


_NUMBER: Final = (
    r"\b\d[\d,.]*\b|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|hundred|thousand)\b"
)
KINDS: Final = (
    Kind(
        asks=re.compile(
            r"\bhow (?:many|much|long|often|large|big|fast|old|far|high)\b"
            r"|\b(?:number|port|version|percentage|limit|size|timeout|maximum|minimum)\b",
            re.IGNORECASE,
        ),
        shows=re.compile(_NUMBER, re.IGNORECASE),
    ),
    Kind(
        asks=re.compile(r"\b(?:when|what (?:year|date|time)|which year)\b", re.IGNORECASE),
        shows=re.compile(
            r"\b(?:19|20)\d\d\b|\b\d+ ?(?:s|ms|seconds|minutes|hours|days)\b"
            r"|\b(?:after|before|when|once|until|while|if)\b",
            re.IGNORECASE,
        ),
    ),
    Kind(
        asks=re.compile(r"\bwho(?:m|se)?\b|\bauthor", re.IGNORECASE),
        shows=re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][a-z]+(?: [A-Z][a-z]+)+|\bby\b|\bservice\b|\bworker\b"),
    ),
    Kind(
        asks=re.compile(r"\bwhere\b|\bwhich (?:file|folder|directory|path)\b", re.IGNORECASE),
        shows=re.compile(r"[/\\]\w+|`[^`]*[/.][^`]*`|\b(?:in|at|under|below|from)\b"),
    ),
    Kind(
        asks=re.compile(r"\bwhy\b|\bwhat (?:is|was) the reason\b", re.IGNORECASE),
        shows=re.compile(
            r"\b(?:because|since|so that|therefore|reason|so|else|otherwise)\b|\bdue to\b|\bto avoid\b|:",
            re.IGNORECASE,
        ),
    ),
    Kind(
        asks=re.compile(
            r"\b(?:which|what) (?:command|function|method|option|flag|setting|variable|parameter|class|module"
            r"|decorator|file)\b|\bhow (?:do|can|to|is|are|does)\b",
            re.IGNORECASE,
        ),
        shows=re.compile(r"`[^`]+`|\b\w+\(\)|\b\w+_\w+\b|--\w+|\bmake \w+|\$ "),
    ),
)
ASKS_FOR_CODE: Final = re.compile(
    r"\bhow (?:do|can|could|should|would|to)\b(?! (?:it|they|the|an?)\b)"
    r"|\b(?:command|code|example|snippet|call|import|install|run|write|type|decorator|option|flag|syntax)",
    re.IGNORECASE,
)
"""Questions that a line of code may answer."""
NAMES: Final = (
    "cosine",
    "cosine_rank",
    "overlap",
    "overlap_context",
    "pairs",
    "retrieval_rank",
    "kind_shown",
    "kind_missing",
    "new_words",
    "long",
    "short",
    "code",
)


def words(text: str) -> list[str]:
    """Return a text's words in lower case, stemmed, without stop words; identifiers are taken apart."""
    parts = (part for word in _WORD.findall(text) for part in _CAMEL.sub(" ", word).split())
    return [stem(word) for word in (part.lower() for part in parts) if word not in _STOP]


def repeats(text: str, question: str) -> bool:
    """Say whether a text has the question in it and next to nothing else, as a title or an example has."""
    said, asked = _plain(text), _plain(question)
    return asked in said and len(words(said.replace(asked, " "))) <= 1


def _plain(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.lower()))} "


def stem(word: str) -> str:
    """Return a word without its commonest endings; light on purpose, it must only bring forms together."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > 3 and word.endswith(("e", "y", "i")) else word


class Weights:
    """How telling each word is: inverse document frequency over the sentences at hand."""

    def __init__(self, texts: Sequence[Iterable[str]]) -> None:
        """Count in how many of `texts` each word stands."""
        self._count = len(texts)
        self._frequency = Counter(word for text in texts for word in set(text))

    def __call__(self, word: str) -> float:
        """Return the weight of a word, greater for rarer ones."""
        return math.log(1 + (self._count + 1) / (self._frequency[word] + 0.5))

    def share(self, wanted: set[str], found: set[str]) -> float:
        """Return which part of the weight of `wanted` stands in `found`, 0 where nothing is wanted."""
        total = sum(map(self, wanted))
        return sum(map(self, wanted & found)) / total if total else 0.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A question and its candidates, taken apart once."""

    question: str
    passages: tuple[Passage, ...]
    sentences: list[Sentence]
    wanted: list[str]
    found: list[list[str]]
    context: list[set[str]]
    weights: Weights

    @classmethod
    def of(cls, question: str, passages: tuple[Passage, ...], sentences: list[Sentence]) -> "Reading":
        """Read words of question, sentences and what stands around each of them."""
        found = [words(sentence.text) for sentence in sentences]
        around = []
        for index, sentence in enumerate(sentences):
            near = set(words(f"{passages[sentence.passage].title} {sentence.heading}")) | set(found[index])
            for other in (index - 1, index + 1):
                if 0 <= other < len(sentences) and sentences[other].passage == sentence.passage:
                    near |= set(found[other])
            around.append(near)
        return cls(
            question=question,
            passages=passages,
            sentences=sentences,
            wanted=words(question),
            found=found,
            context=around,
            weights=Weights(found),
        )

    def lexical(self) -> list[float]:
        """Return each sentence's shared words, the cheap score that chooses what is worth a vector."""
        wanted = set(self.wanted)
        return [
            self.weights.share(wanted, set(found))
            + 0.5 * self.weights.share(wanted, context)
            - 0.02 * sentence.passage
            for found, context, sentence in zip(self.found, self.context, self.sentences, strict=True)
        ]

    def candidates(self) -> list[int]:
        """Return the sentences that may answer: code only where it is asked for, never a question."""
        code = bool(ASKS_FOR_CODE.search(self.question))
        return [
            index
            for index, sentence in enumerate(self.sentences)
            if not (
                sentence.text.rstrip(_CLOSING).endswith("?")
                or repeats(sentence.text, self.question)
                or (sentence.code and (not code or _plain(self.question) in _plain(sentence.text)))
            )
        ]

    def features(self, chosen: Sequence[int], cosines: FloatArray) -> NDArray[np.float64]:
        """Return [len(chosen), len(NAMES)] for these candidates and their cosines with the question."""
        order = np.argsort(-cosines, kind="stable")
        rank = np.empty(len(order))
        rank[order] = np.arange(len(order))
        return np.array(
            [self._row(i, float(c), int(r)) for i, c, r in zip(chosen, cosines, rank, strict=True)]
        )

    def _row(self, index: int, cosine: float, rank: int) -> list[float]:
        sentence, wanted, found = self.sentences[index], set(self.wanted), self.found[index]
        kinds = [kind for kind in KINDS if kind.asks.search(self.question)]
        shown = [bool(kind.shows.search(sentence.text)) for kind in kinds]
        pairs = set(pairwise(self.wanted))
        size = len(found)
        return [
            cosine,
            1 / (1 + rank),
            self.weights.share(wanted, set(found)),
            self.weights.share(wanted, self.context[index]),
            len(pairs & set(pairwise(found))) / max(1, len(pairs)),
            1 / (1 + sentence.passage),
            float(any(shown)),
            float(bool(shown) and not any(shown)),
            min(1.0, len(set(found) - wanted) / 8),
            min(1.0, max(0, size - 30) / 30),
            float(size < 3),
            float(sentence.code or sentence.text.count("`") >= 2),
        ]
