"""A turn's stream and its row say the same."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.errors.v1 import errors_pb2
from soma.orchestrator.v1 import resources_pb2 as pb

from services.orchestrator.domain.conversation import Ending, Finish, State, Turn
from services.orchestrator.domain.stream import (
    completed_event,
    ending_of,
    events_of,
    failed_event,
    last_seq,
    opening_of,
    recalled_in,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
deltas = st.lists(st.text(min_size=1, max_size=9), max_size=12)
ends = st.sampled_from([Finish.STOP, Finish.LENGTH, Finish.BUDGET_EXHAUSTED, Finish.CANCELLED, None])


def turn(**changes: object) -> Turn:
    base = Turn(
        id="trn_" + "0" * 32, tenant="acme", session_id="ses_" + "0" * 32, number=1,
        state=State.RUNNING, input="What?", text="", finish=Finish.NONE, input_tokens=0,
        output_tokens=0, citations=b"", decision_id="dec_1", policy_version=3, persona="guide",
        model="guide", subject="usr_1", error_reason=0, error_message="", opening=(),
        delta_lengths=(), request=b"", create_time=NOW, end_time=None,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def opening(*, recalled: bool) -> tuple[bytes, ...]:
    found = [pb.Citation(number=1, text="The edge has port 18000.")] if recalled else None
    return opening_of(turn_id="trn_1", session_id="ses_1", queue_position=4, recalled=found)


def log_of(head: tuple[bytes, ...], texts: list[str], finish: Finish | None) -> list[bytes]:
    raw = list(head)
    for text in texts:
        event = pb.TurnEvent(seq=len(raw), delta=pb.Delta(text=text))
        raw.append(event.SerializeToString())
    if finish is None:
        reason = errors_pb2.ERROR_REASON_MODEL_UNAVAILABLE
        last = failed_event(seq=len(raw), reason=reason, message="model slm does not answer")
    else:
        last = completed_event(seq=len(raw), finish=finish, input_tokens=9, output_tokens=len(texts))
    return [*raw, last.SerializeToString()]


def ended(head: tuple[bytes, ...], ending: Ending) -> Turn:
    return turn(
        opening=head, state=ending.state, text=ending.text, finish=ending.finish,
        input_tokens=ending.input_tokens, output_tokens=ending.output_tokens,
        delta_lengths=ending.delta_lengths, error_reason=ending.error_reason,
        error_message=ending.error_message, end_time=NOW,
    )  # fmt: skip


@given(deltas, ends, st.booleans(), st.integers(0, 20))
def test_row_gives_every_event_of_the_log_again(
    texts: list[str], finish: Finish | None, recalled: bool, from_seq: int
) -> None:
    head = opening(recalled=recalled)
    log = log_of(head, texts, finish)
    ending = ending_of(log, opening=len(head))
    assert ending is not None
    row = ended(head, ending)
    assert list(events_of(row, from_seq=from_seq)) == log[from_seq:]
    assert last_seq(row) == len(log) - 1
    assert ending.text == "".join(texts)


@given(deltas)
def test_log_without_its_last_event_has_no_ending(texts: list[str]) -> None:
    head = opening(recalled=True)
    assert ending_of(log_of(head, texts, Finish.STOP)[:-1], opening=len(head)) is None
    assert ending_of([], opening=len(head)) is None


def test_seq_zero_is_on_the_wire() -> None:
    event = pb.TurnEvent.FromString(opening(recalled=False)[0])
    assert event.HasField("seq")
    assert event.seq == 0


def test_refused_turn_streams_accepted_and_refused() -> None:
    row = turn(
        state=State.REFUSED, opening=opening(recalled=False), error_message="denied by rule night",
        error_reason=errors_pb2.ERROR_REASON_POLICY_DENIED, end_time=NOW,
    )  # fmt: skip
    first, last = (pb.TurnEvent.FromString(raw) for raw in events_of(row, from_seq=0))
    assert first.accepted.turn_id == "trn_1"
    assert (last.seq, last.refused.decision_id) == (1, "dec_1")
    assert last.refused.reason == errors_pb2.ERROR_REASON_POLICY_DENIED


@pytest.mark.parametrize("recalled", [True, False])
def test_what_was_recalled_is_read_from_the_opening(recalled: bool) -> None:
    assert len(recalled_in(opening(recalled=recalled))) == int(recalled)
