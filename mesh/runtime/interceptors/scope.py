"""The scope that a method's annotation asks for, against those of the token."""

from soma.options.v1 import options_pb2

from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.errors import ConfigurationError, PermissionDenied
from mesh.runtime.hooks import NOTHING, Hooks, Metadata, ServicerContext


class ScopeCheck:
    """Refuses tokens that lack the scope."""

    def bind(self, contract: MethodContract) -> Hooks:
        """Compare one string with one set per call."""
        scope = contract.scope
        if contract.access != options_pb2.ACCESS_TOKEN:
            if scope:
                raise ConfigurationError(f"{contract.path}: a scope needs a token")
            return NOTHING
        if not scope:
            raise ConfigurationError(f"{contract.path} names no scope: refuse")

        def admit(call: CallContext, _metadata: Metadata, _context: ServicerContext) -> None:
            if call.principal is None or scope not in call.principal.scopes:
                raise PermissionDenied(
                    "SCOPE_MISSING", f"the token lacks the scope {scope}", metadata={"scope": scope}
                )

        return Hooks(admit=admit)
