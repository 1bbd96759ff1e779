"""What the runtime asks of whoever decides by policy (`mesh.policy` answers it)."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mesh.runtime.context import CallContext


class Decision(Protocol):
    """What was decided, by which rule of which version, and why in a sentence."""

    @property
    def id(self) -> str:
        """Names the decision in records and refusals; empty while nobody asked for it."""
        ...

    @property
    def policy_version(self) -> int:
        """The version of the rules."""
        ...

    @property
    def rule_id(self) -> str:
        """The rule that decided; empty where none allowed."""
        ...

    def identified(self, decision_id: str) -> "Decision":
        """Return the same decision under an id."""
        ...


class Decider(Protocol):
    """Decides calls by the rules in force, held in memory."""

    def admit(self, call: "CallContext", action: str) -> None:
        """Decide whether the call's principal may do `action`, and set `call.decided`.

        Called on every request, so it must not block.

        Raises:
            mesh.runtime.errors.PermissionDenied: the rules say no (POLICY_DENIED).
            mesh.runtime.errors.Unavailable: no valid rules are in force (POLICY_UNAVAILABLE).
        """
        ...
