"""How a call is decided: for its principal, by what is known of it, with an id for the record.

Rules may ask, beside what a handler says of the resource, for `request.service`, `request.method` and
`request.caller` (the calling workload, by its certificate). These come from the call itself, whoever asks.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from mesh.policy.conditions import Attributes, Value
from mesh.policy.engine import Decision
from mesh.policy.store import BundleStore
from mesh.runtime.context import CallContext, Principal, current
from mesh.runtime.errors import PermissionDenied, Unauthenticated
from mesh.runtime.ids import new_id

_NOTHING: Final[Attributes] = MappingProxyType({})


class Decisions:
    """Decides by the bundle in force; no bundle, no decision, no call."""

    def __init__(self, store: BundleStore) -> None:
        """Take the store that a watcher fills."""
        self._store = store

    def admit(self, call: CallContext, action: str) -> None:
        """Decide a call by what is known before its request is read, and set `call.decided`.

        Raises:
            PermissionDenied: the policy denied it (POLICY_DENIED); the metadata holds the decision.
            Unauthenticated: the call carries no token.
            Unavailable: no valid bundle is in force (POLICY_UNAVAILABLE).
        """
        principal = _principal(call)
        about = request_attributes(call.method, call.caller)
        call.decided = decision = self._store.engine().decide(principal, action, about)
        if not decision.allowed:
            call.decided = decision = decision.identified(new_id("dec"))
            raise _denied(action, decision)

    async def decide(self, *, action: str, attributes: Mapping[str, Value] = _NOTHING) -> Decision:
        """Decide the call in progress, with what its handler knows, and give the decision that allowed it.

        Raises:
            PermissionDenied: the policy denied it (POLICY_DENIED); the metadata holds the decision.
            Unauthenticated: the call carries no token.
            Unavailable: no valid bundle is in force (POLICY_UNAVAILABLE).
        """
        decision = self.evaluate(caller(), action=action, attributes=attributes)
        if not decision.allowed:
            raise _denied(action, decision)
        return decision

    def evaluate(
        self, principal: Principal, *, action: str, attributes: Mapping[str, Value] = _NOTHING
    ) -> Decision:
        """Decide for a principal without refusing; the decision stays with the call in progress.

        Raises:
            Unavailable: no valid bundle is in force (POLICY_UNAVAILABLE).
        """
        call = current()
        about = {**attributes, **request_attributes(call.method, call.caller)}
        decision = self._store.engine().decide(principal, action, about).identified(new_id("dec"))
        call.decided = decision
        return decision


@lru_cache(maxsize=1024)
def request_attributes(method: str, workload: str) -> Attributes:
    """Give what the path of a method and the calling workload say of a request."""
    service, _, name = method.removeprefix("/").rpartition("/")
    return MappingProxyType({"request.service": service, "request.method": name, "request.caller": workload})


def caller() -> Principal:
    """Give the principal of the call in progress.

    Raises:
        Unauthenticated: the call carries no token.
    """
    return _principal(current())


def _principal(call: CallContext) -> Principal:
    if call.principal is None:
        raise Unauthenticated("TOKEN_MISSING", "the call carries no token to decide for")
    return call.principal


def _denied(action: str, decision: Decision) -> PermissionDenied:
    told = {
        "action": action,
        "decision_id": decision.id,
        "policy_version": str(decision.policy_version),
        "rule_id": decision.rule_id,
    }
    return PermissionDenied("POLICY_DENIED", decision.reason, metadata=told)
