"""Which turns are worth remembering."""

import pytest
from soma.orchestrator.v1 import resources_pb2 as turns
from soma.orchestrator.v1.events_pb2 import TurnEnded

from workers.projections.memories import worth_remembering


def ended(**changes: object) -> TurnEnded:
    return TurnEnded(
        remember=bool(changes.get("remember", True)),
        turn=turns.Turn(
            state=turns.TurnState.ValueType(int(str(changes.get("state", turns.TURN_STATE_COMPLETED)))),
            input=turns.Input(text=str(changes.get("said", "My cat is called Ada."))),
            text=str(changes.get("answer", "Noted.")),
        ),
    )


def test_a_completed_turn_of_a_persona_that_remembers_is() -> None:
    assert worth_remembering(ended())


@pytest.mark.parametrize(
    "changes",
    [
        {"remember": False},
        {"state": turns.TURN_STATE_FAILED},
        {"state": turns.TURN_STATE_REFUSED},
        {"state": turns.TURN_STATE_CANCELLED},
        {"said": " "},
        {"answer": ""},
    ],
)
def test_anything_else_is_not(changes: dict[str, object]) -> None:
    assert not worth_remembering(ended(**changes))
