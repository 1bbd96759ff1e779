"""Every topic: what it carries, by which key, who writes it and who reads it.

The broker's topics and access rules are made from this list (`mesh.events.admin`).
Each topic has a `<topic>.dlq` for records that its consumers gave up on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DLQ: Final = ".dlq"
OUTBOX_WORKER: Final = "worker-outbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic."""

    name: str
    message: str
    """Full name of the protobuf message."""
    key: str
    """What a record's key is: records of one key keep their order."""
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    partitions: int = 8
    retention_hours: int = 7 * 24
    gathered: bool = False
    """Whether committed records may be gathered for a moment (`mesh.events.departures`)."""
    held_seconds: float = 0.0
    """How long the broker may hold a record back, to hand several over at once; 0 where somebody waits."""

    @property
    def dead_letters(self) -> str:
        """Where its poison goes."""
        return self.name + DLQ

    @property
    def writers(self) -> tuple[str, ...]:
        """Who may write: producers, and the outbox worker for what they left behind."""
        return (*self.producers, OUTBOX_WORKER)


TOPICS: Final = (
    Topic(
        name="slm.requests",
        message="soma.slm.v1.GenerationRequest",
        key="turn id",
        producers=("orchestrator",),
        consumers=("worker-slm",),
        retention_hours=24,
    ),
    Topic(
        name="slm.responses",
        message="soma.slm.v1.GenerationResponse",
        key="turn id",
        producers=("worker-slm",),
        consumers=("orchestrator",),
        retention_hours=24,
        # Nobody waits for the row: until it says so, the turn's log tells that it ended, and how.
        held_seconds=0.25,
    ),
    Topic(
        name="turns.events",
        message="soma.orchestrator.v1.TurnEnded",
        key="session id",
        producers=("orchestrator",),
        consumers=("worker-projections",),
        gathered=True,
        held_seconds=0.5,
    ),
    Topic(
        name="audit.records",
        message="soma.audit.v1.AuditRecord",
        key="tenant",
        producers=("identity", "policy", "orchestrator", "memory", "slm"),
        consumers=("worker-projections",),
        gathered=True,
        held_seconds=0.5,
    ),
    Topic(
        name="identity.events",
        message="soma.identity.v1.IdentityEvent",
        key="tenant",
        producers=("identity",),
        consumers=("worker-projections",),
        partitions=4,
        gathered=True,
        held_seconds=0.5,
    ),
    Topic(
        name="memory.events",
        message="soma.memory.v1.MemoryEvent",
        key="tenant",
        producers=("memory",),
        consumers=("worker-projections",),
        partitions=4,
        gathered=True,
        held_seconds=0.5,
    ),
)
BY_NAME: Final[Mapping[str, Topic]] = MappingProxyType({topic.name: topic for topic in TOPICS})
