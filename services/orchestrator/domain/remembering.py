"""Which turns become memories: those whose answer says something."""

from soma.orchestrator.v1 import resources_pb2 as pb
from soma.slm.v1 import resources_pb2 as models_pb

from services.orchestrator.domain.conversation import State, Turn


def worth_remembering(turn: Turn, *, recalls: bool, model: models_pb.Model) -> bool:
    """Say whether memory keeps an ended turn; `recalls` says whether its persona looks things up.

    An extracted answer without a citation says only that nothing was found; recalled later, it would be
    taken for knowledge. The bootstrap model's words mean nothing, whatever persona speaks with it.
    """
    if turn.state is not State.COMPLETED or not recalls or model.bootstrap:
        return False
    return model.task != models_pb.TASK_EXTRACT or bool(pb.Recalled.FromString(turn.citations).citations)
