"""Names of the keys: everything lies below the prefix `turnlog:`."""

from dataclasses import dataclass
from typing import Final

LEASES: Final = "turnlog:leases"
SIGNALS: Final = "turnlog:signals"


@dataclass(frozen=True, slots=True)
class TurnKey:
    """A turn of a tenant."""

    tenant: str
    turn_id: str

    def __post_init__(self) -> None:
        """Refuse an empty part: a key without its tenant would belong to everybody."""
        if not self.tenant or not self.turn_id or ":" in self.turn_id:
            raise ValueError("a turn key needs a tenant and a turn id without a colon")

    @property
    def member(self) -> str:
        """Its name in sorted sets and signals."""
        return f"{self.tenant}:{self.turn_id}"

    @property
    def log(self) -> str:
        """Key of the stream."""
        return f"turnlog:{self.tenant}:{self.turn_id}"

    @property
    def meta(self) -> str:
        """Key of the hash beside it."""
        return f"turnlog:{self.tenant}:{self.turn_id}:meta"

    @classmethod
    def of_member(cls, member: bytes) -> "TurnKey":
        """Read a name back."""
        tenant, _, turn_id = member.decode().rpartition(":")
        return cls(tenant, turn_id)


def load_key(queue: str) -> str:
    """Key of the turns that a model has accepted."""
    return f"turnlog:load:{queue}"
