"""Sentences are verbatim, answers are cited, continuation is exact, the cache is bounded."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.extraction.answer import Scores, answer
from models.extraction.evidence import Reading, words
from models.extraction.sentences import MAX_SENTENCE_CHARACTERS, split
from models.prompting import NO_ANSWER, ExtractPrompt, Passage
from models.serving.cache import VectorCache

LINES = st.lists(
    st.sampled_from(
        [
            "# Ports",
            "The edge has port 18000. It speaks HTTP, e.g. to curl.",
            "- one item of a list",
            "2. a second item. With two sentences.",
            "> a quoted line",
            "| a | table |",
            "|---|---|",
            "```",
            "make up",
            "",
            "Title",
            "=====",
            "no end",
            "What is it? It is a test!",
        ]
    ),
    max_size=14,
)


def bag_of_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed by hashed words: an encoder simple enough to reason about, good enough to rank shared words."""
    vectors = np.full((len(texts), 256), 1e-3, np.float32)
    for row, text in enumerate(texts):
        for word in words(text):
            vectors[row, sum(word.encode()) * 31 % 256] += 1
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@given(LINES)
def test_every_sentence_stands_in_its_passage(lines: list[str]) -> None:
    passage = Passage(label=1, text="\n".join(lines))
    as_it_is = " ".join(" ".join(lines).split())
    unquoted = " ".join(
        " ".join(line.removeprefix("> ") for line in lines).split()
    )  # line breaks and marks of quoting aside
    for sentence in split((passage,)):
        assert len(sentence.text) <= MAX_SENTENCE_CHARACTERS
        assert sentence.text in as_it_is or sentence.text in unquoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It costs 3.5 ms, e.g. here. Done.", ["It costs 3.5 ms, e.g. here.", "Done."]),
        ("# Head\n\nBody of it.", ["Body of it."]),
        ("Head\n====\n\nBody of it.", ["Body of it."]),
        ("- first\n- second\n  goes on", ["first", "second goes on"]),
        ("| a | b |\n|---|---|\n| c | d |", ["| a | b |", "| c | d |"]),
        (">>> redis.get('foo')\nb'bar'", [">>> redis.get('foo') b'bar'"]),
        ("> quoted\n> and wrapped", ["quoted and wrapped"]),
        ("lines that\nwrap. Next", ["lines that wrap.", "Next"]),
        ("```sh\nmake up\nmake down\n```", ["make up", "make down"]),
        ("Run it:\n\n    make up\n    make down\n\nDone.", ["Run it:", "make up", "make down", "Done."]),
        ("    curl -sS \\\n      -d x\n    ls", ["curl -sS \\ -d x", "ls"]),
        ("- first\n    goes on", ["first goes on"]),
        ("a | b\nc | d", ["a | b", "c | d"]),
        ("Head\n~~~~\n\nBody of it.", ["Body of it."]),
    ],
)
def test_passages_are_cut_as_a_reader_would(text: str, expected: list[str]) -> None:
    assert [sentence.text for sentence in split((Passage(label=1, text=text),))] == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Run:\n\n```sh\nmake up\n```\n\nDone.", ["make up"]),
        ("Run:\n\n    make up\n\n    make down\nDone.", ["make up", "make down"]),
        ("    make up\nis a command.", ["make up"]),
        ("$ make up\n>>> 1 + 1\n2", ["$ make up", ">>> 1 + 1 2"]),
        ("- an item\n    that goes on", []),
        ("words\n    that wrap", []),
        ("`make up` starts it.", []),
    ],
)
def test_code_is_told_from_sentences(text: str, code: list[str]) -> None:
    assert [one.text for one in split((Passage(label=1, text=text),)) if one.code] == code


def test_an_answer_is_cited_by_the_label_of_its_passage() -> None:
    passages = (
        Passage(label=7, title="Fruit", text="Bananas are yellow. They grow in hot countries."),
        Passage(label=3, title="Ports", text="Kafka has port 18005. The edge listens on port 18000."),
    )
    prompt = ExtractPrompt(question="On which port does the edge listen?", passages=passages)
    assert answer(prompt, bag_of_words, Scores.load())[0] == "The edge listens on port 18000. [3]"


COMMANDS = Passage(
    label=1,
    title="Operating > Logs",
    text='    soma ask "How long does a certificate last?"\n    soma logs orchestrator\n\n'
    "Logs are kept for seven days.",
)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which command shows the logs of the orchestrator?", [1]),
        ("How do I read the logs of the orchestrator?", [1]),
        ("How long are logs kept?", []),
        ("How long does a certificate last?", []),
    ],
)
def test_code_answers_only_where_it_is_asked_for(question: str, expected: list[int]) -> None:
    reading = Reading.of(question, (COMMANDS,), split((COMMANDS,)))
    assert reading.candidates() == [*expected, 2]


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("How long does a certificate last", False),
        ("“How long does a certificate last?”", False),
        ("How do I renew one?", False),
        ("How long does a certificate last? | 24 hours, then it is renewed", True),
        ("A certificate lasts 24 hours.", True),
    ],
)
def test_a_question_is_no_answer(text: str, answers: bool) -> None:
    passage = Passage(label=1, text=text)
    reading = Reading.of("How long does a certificate last?", (passage,), split((passage,)))
    assert bool(reading.candidates()) == answers


@pytest.mark.parametrize(
    "passages", [(), (Passage(label=1, text="Bananas are yellow."),), (Passage(label=1, text=""),)]
)
def test_where_nothing_answers_it_says_so(passages: tuple[Passage, ...]) -> None:
    prompt = ExtractPrompt(question="Who composed the Magic Flute?", passages=passages)
    assert answer(prompt, bag_of_words, Scores.load()) == [NO_ANSWER]


def test_the_cache_computes_each_text_once_and_forgets_the_oldest() -> None:
    computed: list[str] = []

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        computed.extend(texts)
        return np.array([[float(len(text)), math.pi] for text in texts], np.float32)

    cache = VectorCache(embed, entries=2)
    first = cache(["a", "bb", "a"])
    assert first[:, 0].tolist() == [1, 2, 1]
    assert computed == ["a", "bb"]
    cache(["a"])
    cache(["ccc"])  # "bb" was used longest ago
    assert computed == ["a", "bb", "ccc"]
    cache(["a", "bb"])
    assert computed == ["a", "bb", "ccc", "bb"]
