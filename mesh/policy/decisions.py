"""How a handler asks: for the principal of the call in progress, with an id for the record."""

from collections.abc import Mapping
from typing import Final

from mesh.policy.conditions import Attributes, Value
from mesh.policy.engine import Decision
from mesh.policy.store import BundleStore
from mesh.runtime.context import Principal, current
from mesh.runtime.errors import PermissionDenied, Unauthenticated
from mesh.runtime.ids import new_id

_NOTHING: Final[Attributes] = {}


class Decisions:
    """Decides by the bundle in force; no bundle, no decision, no call."""

    def __init__(self, store: BundleStore) -> None:
        """Take the store that a watcher fills."""
        self._store = store

    async def decide(self, *, action: str, attributes: Mapping[str, Value] = _NOTHING) -> Decision:
        """Decide for the principal of the call in progress and give the decision that allowed it.

        Raises:
            PermissionDenied: the policy denied it (POLICY_DENIED); the metadata holds the decision.
            Unauthenticated: the call carries no token.
            Unavailable: no valid bundle is in force (POLICY_UNAVAILABLE).
        """
        decision = self.evaluate(caller(), action=action, attributes=attributes)
        if not decision.allowed:
            raise PermissionDenied("POLICY_DENIED", decision.reason, metadata=_told(action, decision))
        return decision

    def evaluate(
        self, principal: Principal, *, action: str, attributes: Mapping[str, Value] = _NOTHING
    ) -> Decision:
        """Decide for a principal without refusing.

        Raises:
            Unavailable: no valid bundle is in force (POLICY_UNAVAILABLE).
        """
        decision = self._store.engine().decide(principal, action, attributes)
        return decision.identified(new_id("dec"))


def caller() -> Principal:
    """Give the principal of the call in progress.

    Raises:
        Unauthenticated: the call carries no token.
    """
    principal = current().principal
    if principal is None:
        raise Unauthenticated("TOKEN_MISSING", "the call carries no token to decide for")
    return principal


def _told(action: str, decision: Decision) -> dict[str, str]:
    return {
        "action": action,
        "decision_id": decision.id,
        "policy_version": str(decision.policy_version),
        "rule_id": decision.rule_id,
    }
