"""A turn's stream and its row say the same: each can be made from the other.

`ending_of` reads the end from a log's events; `events_of` gives every event of
an ended turn again from its row, byte for byte, long after the log is gone.
"""

from collections.abc import Iterator, Sequence

from soma.errors.v1 import errors_pb2
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.slm.v1 import events_pb2 as slm_pb

from services.orchestrator.domain.conversation import Ending, Finish, State, Turn

_STATES = {
    slm_pb.GENERATION_STATE_COMPLETED: State.COMPLETED,
    slm_pb.GENERATION_STATE_FAILED: State.FAILED,
    slm_pb.GENERATION_STATE_CANCELLED: State.CANCELLED,
}


def opening_of(
    *, turn_id: str, session_id: str, queue_position: int, recalled: Sequence[pb.Citation] | None
) -> tuple[bytes, ...]:
    """Return the events that the orchestrator writes: accepted, and what was recalled."""
    accepted = pb.Accepted(turn_id=turn_id, session_id=session_id, queue_position=queue_position)
    events = [pb.TurnEvent(seq=0, accepted=accepted)]
    if recalled is not None:
        events.append(pb.TurnEvent(seq=1, recalled=pb.Recalled(citations=recalled)))
    return tuple(event.SerializeToString() for event in events)


def recalled_in(opening: Sequence[bytes]) -> tuple[pb.Citation, ...]:
    """Return the passages that an opening tells of."""
    for raw in opening[1:]:
        event = pb.TurnEvent.FromString(raw)
        if event.HasField("recalled"):
            return tuple(event.recalled.citations)
    return ()


def events_of(turn: Turn, *, from_seq: int) -> Iterator[bytes]:
    """Yield the events of an ended turn from `from_seq` on."""
    for seq, raw in enumerate(turn.opening):
        if seq >= from_seq:
            yield raw
    seq, start = len(turn.opening), 0
    for length in turn.delta_lengths:
        if seq >= from_seq:
            delta = pb.Delta(text=turn.text[start : start + length])
            yield pb.TurnEvent(seq=seq, delta=delta).SerializeToString()
        start += length
        seq += 1
    if seq >= from_seq:
        yield _end_of(turn, seq).SerializeToString()


def last_seq(turn: Turn) -> int:
    """Return the place of an ended turn's last event."""
    return len(turn.opening) + len(turn.delta_lengths)


def _end_of(turn: Turn, seq: int) -> pb.TurnEvent:
    if turn.state is State.FAILED:
        return failed_event(seq=seq, reason=turn.error_reason, message=turn.error_message)
    if turn.state is State.REFUSED:
        refused = pb.Refused(
            reason=errors_pb2.ErrorReason.ValueType(turn.error_reason),
            message=turn.error_message,
            decision_id=turn.decision_id,
        )
        return pb.TurnEvent(seq=seq, refused=refused)
    return completed_event(
        seq=seq, finish=turn.finish, input_tokens=turn.input_tokens, output_tokens=turn.output_tokens
    )


def completed_event(*, seq: int, finish: Finish, input_tokens: int, output_tokens: int) -> pb.TurnEvent:
    """Return the event that ends a stream with all text there."""
    usage = pb.Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens,
    )
    return pb.TurnEvent(seq=seq, completed=pb.Completed(usage=usage, finish_reason=finish.word))


def failed_event(*, seq: int, reason: int, message: str) -> pb.TurnEvent:
    """Return the event that ends a stream which could not be finished."""
    failed = pb.Failed(reason=errors_pb2.ErrorReason.ValueType(reason), message=message)
    return pb.TurnEvent(seq=seq, failed=failed)


def said_in(events: Sequence[bytes], *, opening: int) -> list[str]:
    """Return the texts of the deltas among a log's events."""
    parsed = (pb.TurnEvent.FromString(raw) for raw in events[opening:])
    return [event.delta.text for event in parsed if event.HasField("delta")]


def without_pings(events: Sequence[bytes]) -> list[bytes]:
    """Return what of a stream is in its log, too."""
    return [raw for raw in events if pb.TurnEvent.FromString(raw).HasField("seq")]


def ending_of(events: Sequence[bytes], *, opening: int) -> Ending | None:
    """Return how a log ends; None where it does not."""
    if len(events) <= opening:
        return None
    last = pb.TurnEvent.FromString(events[-1])
    parts = said_in(events, opening=opening)
    text, lengths = "".join(parts), tuple(len(part) for part in parts)
    if last.HasField("failed"):
        return Ending(
            state=State.FAILED, text=text, finish=Finish.NONE, input_tokens=0, output_tokens=0,
            delta_lengths=lengths, error_reason=last.failed.reason, error_message=last.failed.message,
        )  # fmt: skip
    if not last.HasField("completed"):
        return None
    finish = Finish.of(last.completed.finish_reason)
    return Ending(
        state=State.CANCELLED if finish is Finish.CANCELLED else State.COMPLETED,
        text=text,
        finish=finish,
        input_tokens=last.completed.usage.input_tokens,
        output_tokens=last.completed.usage.output_tokens,
        delta_lengths=lengths,
    )


def ending_of_response(response: slm_pb.GenerationResponse) -> Ending:
    """Return the end that a worker tells of.

    Raises:
        ValueError: it has no state that we know: refuse.
    """
    state = _STATES.get(response.state)
    if state is None:
        raise ValueError(f"generation of {response.turn_id} ended in the unknown state {response.state}")
    failed = state is State.FAILED
    return Ending(
        state=state,
        text=response.text,
        finish=Finish.NONE if failed else Finish.of(response.finish_reason),
        input_tokens=0 if failed else response.input_tokens,
        output_tokens=0 if failed else response.output_tokens,
        delta_lengths=tuple(response.delta_lengths),
        error_reason=response.reason,
        error_message=response.message,
    )
