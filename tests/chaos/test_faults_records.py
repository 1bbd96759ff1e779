"""Poison lands among the dead letters of its topic, its partition goes on, and nothing is done twice."""

from __future__ import annotations

import uuid

import pytest
from soma.audit.v1.resources_pb2 import AuditRecord
from soma.orchestrator.v1 import resources_pb2 as turns
from soma.orchestrator.v1.events_pb2 import TurnEnded
from soma.slm.v1.events_pb2 import GenerationResponse

from mesh.events.topics import BY_NAME
from tests.chaos.acknowledged import acknowledged
from tests.chaos.faults.records import LARGEST, UNDECODABLE, buried, poison
from tests.support.stack import Stack

NOBODY = f"trn_{uuid.UUID(int=7).hex}"


def ended(question: str, *, turn: str = NOBODY) -> bytes:
    """A turn worth remembering, as its event tells of it."""
    told = turns.Turn(
        id=turn, session_id=NOBODY.replace("trn", "ses"), state=turns.TURN_STATE_COMPLETED,
        input=turns.Input(text=question), text="A place where ships lie.",
    )  # fmt: skip
    return TurnEnded(id="evt_1", turn=told, remember=True).SerializeToString()


POISON = {
    "audit.records": (
        (UNDECODABLE, "tenant", "UNDECODABLE"),
        (AuditRecord(id="aud_1", tenant="one").SerializeToString(), "another", "INVALID_ARGUMENT"),
    ),
    "turns.events": (
        (UNDECODABLE, "tenant", "UNDECODABLE"),
        (ended("What is a quay?"), "", "INVALID_ARGUMENT"),
        (ended("What is a quay?", turn="no id"), "another", "INVALID_ARGUMENT"),
    ),
    "slm.requests": ((UNDECODABLE, "", "UNDECODABLE"),),
    "slm.responses": (
        (UNDECODABLE, "tenant", "UNDECODABLE"),
        (GenerationResponse(turn_id=NOBODY).SerializeToString(), "", ""),
        (UNDECODABLE + b"\xff" * (LARGEST + 250), "tenant", "UNDECODABLE"),
    ),
}


@pytest.mark.parametrize("topic", POISON)
async def test_poison_is_buried_with_its_reason_beside_work(stack: Stack, topic: str) -> None:
    async with acknowledged(stack, clients=1):
        for value, tenant, reason in POISON[topic]:
            name = await poison(stack, value, BY_NAME[topic], tenant=tenant)
            told = await buried(stack, BY_NAME[topic], name)
            assert all(one.startswith(reason) for one in told), (told, reason)
