"""The bearer token of methods whose access is ACCESS_TOKEN."""

from typing import Final

from soma.options.v1 import options_pb2

from mesh.runtime.authentication import TokenVerifier
from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.errors import ConfigurationError, Unauthenticated
from mesh.runtime.hooks import NOTHING, REPEATED, Hooks, Metadata, ServicerContext, text

HEADER: Final = "authorization"


class Authentication:
    """Refuses calls without a valid token where the contract wants one."""

    def __init__(self, verifier: TokenVerifier | None) -> None:
        """Take the verifier of the process; None where no method needs a token."""
        self._verifier = verifier

    def bind(self, contract: MethodContract) -> Hooks:
        """Verify the token before anything else is looked at."""
        if contract.access in (options_pb2.ACCESS_PUBLIC, options_pb2.ACCESS_WORKLOAD):
            return NOTHING
        if contract.access != options_pb2.ACCESS_TOKEN:
            raise ConfigurationError(f"{contract.path} has no known access: refuse")
        if self._verifier is None:
            raise ConfigurationError(f"{contract.path} needs tokens; authenticate_with was not set")
        verify = self._verifier.verify

        def admit(call: CallContext, metadata: Metadata, _context: ServicerContext) -> None:
            scheme, _, token = text(metadata, HEADER).partition(" ")
            if scheme.lower() != "bearer" or not token:
                if metadata.get(HEADER) is REPEATED:
                    raise Unauthenticated("TOKEN_INVALID", f"more than one {HEADER} header")
                raise Unauthenticated("TOKEN_MISSING", "no bearer token")
            call.principal = verify(token)
            call.bearer = token

        return Hooks(admit=admit)
