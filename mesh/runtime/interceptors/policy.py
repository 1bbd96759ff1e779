"""The policy's decision on every call with a token: the action is the scope that the method asks for."""

from collections.abc import Collection

from soma.options.v1 import options_pb2

from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.decisions import Decider
from mesh.runtime.errors import ConfigurationError
from mesh.runtime.hooks import NOTHING, Hooks, Metadata, ServicerContext


class PolicyCheck:
    """Refuses what the policy denies, and everything while no valid bundle is in force."""

    def __init__(self, decider: Decider | None, *, decides_itself: Collection[str] = ()) -> None:
        """Take the decider of the process; None where no method needs a token.

        Methods of the paths in `decides_itself` decide with attributes of their own.
        """
        self._decider = decider
        self._decides_itself = frozenset(decides_itself)

    def bind(self, contract: MethodContract) -> Hooks:
        """Decide before the request is looked at."""
        if contract.access != options_pb2.ACCESS_TOKEN:
            if contract.path in self._decides_itself:
                raise ConfigurationError(f"{contract.path} has no token to decide for")
            return NOTHING
        if self._decider is None:
            raise ConfigurationError(f"{contract.path} needs decisions; decide_with was not set")
        if contract.path in self._decides_itself:
            return NOTHING
        decide, action = self._decider.admit, contract.scope

        def admit(call: CallContext, _metadata: Metadata, _context: ServicerContext) -> None:
            decide(call, action)

        return Hooks(admit=admit)
