"""The answer of a turn as it grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.errors.v1 import errors_pb2
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.turnlog import Entry
from services.orchestrator.domain.stream import ending_of, ending_of_response
from workers.slm.answer import Allowance, Answer, NotTheSameAnswerError, Skip

OPENING = (
    pb.TurnEvent(seq=0, accepted=pb.Accepted(turn_id="trn_1")).SerializeToString(),
    pb.TurnEvent(seq=1, recalled=pb.Recalled()).SerializeToString(),
)
pieces = st.lists(st.tuples(st.text(max_size=8), st.integers(0, 5)), max_size=12)


def said(parts: list[tuple[str, int]]) -> Answer:
    answer = Answer(OPENING)
    for text, tokens in parts:
        answer.add(text, tokens=tokens)
    return answer


def entries(answer: Answer) -> list[Entry]:
    opening = [Entry(seq, raw, 0, last=False) for seq, raw in enumerate(answer.opening)]
    rest = [
        Entry(len(opening) + at, frame.event, frame.tokens, frame.last)
        for at, frame in enumerate(answer.frames)
    ]
    return opening + rest


@given(pieces)
def test_frames_joined_are_the_text_without_nul(parts: list[tuple[str, int]]) -> None:
    answer = said(parts)
    events = [pb.TurnEvent.FromString(frame.event) for frame in answer.frames]
    joined = "".join(event.delta.text for event in events)
    assert joined == answer.text == "".join(text for text, _ in parts).replace("\0", "")
    assert [event.seq for event in events] == list(range(2, 2 + len(events)))
    assert answer.output_tokens == sum(tokens for _, tokens in parts)
    assert all(event.delta.text for event in events), "an empty delta is no event"


@given(pieces)
def test_answer_read_back_from_its_log_is_the_same(parts: list[tuple[str, int]]) -> None:
    answer = said(parts)
    answer.complete("stop", input_tokens=7)
    again = Answer.of(entries(answer), opening=OPENING)
    assert again.text == answer.text
    assert again.frames == answer.frames
    assert again.output_tokens == answer.output_tokens
    assert again.ended == answer.ended


@given(pieces, st.sampled_from(["stop", "length", "budget_exhausted", "cancelled", "failed"]))
def test_log_and_response_tell_the_same_end(parts: list[tuple[str, int]], how: str) -> None:
    answer = said(parts)
    request = slm_pb.GenerationRequest(turn_id="trn_1", input_tokens=3)
    if how == "failed":
        answer.fail(errors_pb2.ERROR_REASON_MODEL_UNAVAILABLE, "model slm does not answer")
    else:
        answer.complete(how, input_tokens=11)
    response = answer.response(request)
    assert ending_of_response(response) == ending_of(
        [entry.event for entry in entries(answer)], opening=len(OPENING)
    )
    assert sum(response.delta_lengths) == len(response.text)
    another = Answer.of(entries(answer), opening=OPENING).response(request)  # who took the turn over then
    assert another.SerializeToString(deterministic=True) == response.SerializeToString(deterministic=True)


def test_answer_without_an_end_has_no_response() -> None:
    with pytest.raises(ValueError, match="no end"):
        said([("a", 1)]).response(slm_pb.GenerationRequest())


@pytest.mark.parametrize(
    ("asked", "budget", "prompt", "made", "tokens", "reason"),
    [
        (64, 0, 100, 0, 64, "length"),
        (64, 0, 100, 60, 4, "length"),
        (64, 120, 100, 0, 20, "budget_exhausted"),
        (64, 120, 100, 20, 0, "budget_exhausted"),
        (64, 90, 100, 0, 0, "budget_exhausted"),
        (10, 1000, 100, 0, 10, "length"),
        (64, 164, 100, 0, 64, "budget_exhausted"),
    ],
)
def test_allowance_is_the_smaller_of_wish_and_budget(
    asked: int, budget: int, prompt: int, *, made: int, tokens: int, reason: str
) -> None:
    request = slm_pb.GenerationRequest(
        sampling=slm_pb.SamplingOptions(max_tokens=asked), budget_tokens=budget, input_tokens=prompt
    )
    allowance = Allowance.of(request, made=made)
    assert (allowance.tokens, allowance.exhausted_reason) == (tokens, reason)


@given(st.text(max_size=40), st.integers(0, 40), st.data())
def test_skip_passes_over_what_was_sent_and_nothing_else(text: str, sent: int, data: st.DataObject) -> None:
    text = text.replace("\0", "")
    skip = Skip(text[:sent])
    rest, got = text, ""
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        got += skip.take(rest[:cut])
        rest = rest[cut:]
    assert got == text[sent:]
    skip.finish()


def test_skip_refuses_another_text() -> None:
    with pytest.raises(NotTheSameAnswerError):
        Skip("The edge has port").take("The door")


def test_skip_refuses_less_than_was_sent() -> None:
    skip = Skip("The edge")
    assert skip.take("The") == ""
    with pytest.raises(NotTheSameAnswerError):
        skip.finish()
