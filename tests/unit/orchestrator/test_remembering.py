"""Which turns become memories."""

from datetime import UTC, datetime

import pytest
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.slm.v1 import resources_pb2 as models_pb

from services.orchestrator import events
from services.orchestrator.domain.conversation import Finish, State, Turn
from services.orchestrator.domain.remembering import worth_remembering

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EXTRACTIVE = models_pb.Model(name="guide", task=models_pb.TASK_EXTRACT)
GENERATIVE = models_pb.Model(name="free", task=models_pb.TASK_GENERATE)
BOOTSTRAP = models_pb.Model(name="bootstrap", task=models_pb.TASK_GENERATE, bootstrap=True)


def turn(*, state: State = State.COMPLETED, cites: bool = False, persona: str = "guide") -> Turn:
    recalled = pb.Recalled(citations=[pb.Citation(number=1, text="It is 18000.")] if cites else [])
    return Turn(
        id="trn_" + "0" * 32, tenant="acme", session_id="ses_" + "0" * 32, number=1, state=state,
        input="Which port?", text="None of it.", finish=Finish.STOP, input_tokens=1, output_tokens=1,
        citations=recalled.SerializeToString(), decision_id="dec_1", policy_version=1, persona=persona,
        model="guide", subject="usr_1", error_reason=0, error_message="", opening=(), delta_lengths=(),
        request=b"", create_time=NOW, end_time=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ended", "recalls", "model", "kept"),
    [
        (turn(cites=True), True, EXTRACTIVE, True),
        (turn(cites=False), True, EXTRACTIVE, False),
        (turn(cites=False), True, GENERATIVE, True),
        (turn(cites=True), True, BOOTSTRAP, False),
        (turn(cites=True), False, EXTRACTIVE, False),
        *((turn(cites=True, state=s), True, EXTRACTIVE, False) for s in State if s is not State.COMPLETED),
    ],
)
def test_a_turn_is_kept_whose_answer_says_something(
    ended: Turn, recalls: bool, model: models_pb.Model, kept: bool
) -> None:
    assert worth_remembering(ended, recalls=recalls, model=model) is kept


@pytest.mark.parametrize(
    ("cites", "persona", "kept"), [(True, "guide", True), (False, "guide", False), (True, "gone", False)]
)
def test_the_event_says_so(cites: bool, persona: str, kept: bool) -> None:
    ended = turn(cites=cites, persona=persona)
    record = events.turn_ended(ended, pb.Turn(id=ended.id), model=EXTRACTIVE, now=NOW)
    assert record.message.remember is kept
