"""From what the service holds to what goes over the wire."""

from soma.orchestrator.v1 import resources_pb2 as pb

from services.orchestrator.domain.conversation import Session, Turn
from services.orchestrator.domain.personas import Persona
from services.orchestrator.events import timestamp


def session_message(session: Session) -> pb.Session:
    """Convert a session."""
    return pb.Session(
        id=session.id,
        persona=session.persona,
        display_name=session.display_name,
        turn_count=session.turn_count,
        create_time=timestamp(session.create_time),
        update_time=timestamp(session.update_time),
    )


def turn_message(turn: Turn) -> pb.Turn:
    """Convert a turn."""
    message = pb.Turn(
        id=turn.id,
        session_id=turn.session_id,
        number=turn.number,
        state=int(turn.state),  # type: ignore[arg-type]  # an enum's number
        input=pb.Input(text=turn.input),
        text=turn.text,
        finish_reason=int(turn.finish),  # type: ignore[arg-type]  # an enum's number
        citations=pb.Recalled.FromString(turn.citations).citations,
        decision_id=turn.decision_id,
        policy_version=turn.policy_version,
        model=turn.model,
        create_time=timestamp(turn.create_time),
    )
    if turn.input_tokens or turn.output_tokens:
        message.usage.input_tokens = turn.input_tokens
        message.usage.output_tokens = turn.output_tokens
        message.usage.total_tokens = turn.input_tokens + turn.output_tokens
    if turn.error_reason:
        message.error.reason = turn.error_reason  # type: ignore[assignment]  # an enum's number
        message.error.message = turn.error_message
    if turn.end_time is not None:
        message.end_time.FromDatetime(turn.end_time)
    return message


def persona_message(persona: Persona) -> pb.Persona:
    """Convert a persona."""
    return pb.Persona(
        name=persona.name,
        description=persona.description,
        model=persona.model,
        recall=persona.recall,
        notice=persona.notice,
    )
