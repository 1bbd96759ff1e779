"""Page tokens, citations, personas, token counts, request text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.memory.v1 import resources_pb2 as memory_pb
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb

from services.orchestrator.asking import Asked
from services.orchestrator.domain import citations, paging
from services.orchestrator.domain.conversation import Finish
from services.orchestrator.domain.personas import BUILT_IN, DEFAULT
from services.orchestrator.tokens import TokenCounter


@given(st.text(min_size=1, max_size=60).filter(str.isprintable))
def test_page_token_gives_its_place_again(place: str) -> None:
    assert paging.after("sessions", paging.token("sessions", place)) == place


@pytest.mark.parametrize(
    "token",
    ["x", "%%%", "c2Vzc2lvbnM", paging.token("turns of ses_1", "4"), paging.token("sessions", "ses_\0"), "é"],
)
def test_foreign_page_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="page token"):
        paging.after("sessions", token)


def test_no_token_is_the_first_page() -> None:
    assert paging.after("sessions", "") is None


def test_citations_are_numbered_passages_first() -> None:
    passage = memory_pb.Passage(document_id="doc_1", title="Guide", headings=["Guide", "Ports"], text="a")
    memory = memory_pb.RecalledMemory(memory=memory_pb.Memory(id="mem_1", text="b"), score=0.5)
    first, second = citations.numbered([passage], [memory])
    assert (first.number, first.title, first.document_id) == (1, "Guide > Ports", "doc_1")
    assert (second.number, second.title, second.source, second.document_id) == (2, "memory", "mem_1", "")


def test_only_cited_passages_are_kept() -> None:
    recalled = [pb.Citation(number=n) for n in (1, 2, 3)]
    assert [c.number for c in citations.cited("A [3]. B [1] [9].", recalled)] == [1, 3]
    assert citations.cited("Nothing.", recalled) == ()


def test_every_finish_has_a_word_and_back() -> None:
    for finish in Finish:
        assert Finish.of(finish.word) is finish


def test_default_persona_looks_things_up_and_bootstrap_says_what_it_is() -> None:
    assert BUILT_IN[DEFAULT].recall
    assert BUILT_IN["bootstrap"].notice


def test_unknown_model_is_counted_high() -> None:
    count = TokenCounter.load(Path("/nonexistent")).of("gpt-x")
    assert count("") == 0
    assert count("abcd") == 2
    assert count("ééé") == 2


def test_nul_never_enters() -> None:
    request = rpc_pb.StreamTurnRequest(input=rpc_pb.TurnInput(text="a\0b"))
    assert Asked.of(request).text == "ab"
