"""Who calls: the SPIFFE id of the client certificate, and what the mesh policy lets it call."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from mesh.runtime.authorization import Authorization
from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.errors import PermissionDenied
from mesh.runtime.hooks import Hooks, Metadata, ServicerContext

TRUST_DOMAIN: Final = b"spiffe://soma/"
_SAN: Final = "x509_subject_alternative_name"


class WorkloadCheck:
    """Refuses callers without a workload identity, and those the policy does not list."""

    def __init__(self, authorization: Authorization) -> None:
        """Decide by `authorization`, loaded when the process started."""
        self._authorization = authorization

    def bind(self, contract: MethodContract) -> Hooks:
        """Look the allowed callers up once; per call it is one membership test."""
        allowed = self._authorization.callers_of(contract)
        path = contract.path[1:]

        def admit(call: CallContext, _metadata: Metadata, context: ServicerContext) -> None:
            # The identities only: the whole auth context copies two certificates each time.
            names = context.peer_identities()
            caller = None
            if names is not None and context.peer_identity_key() == _SAN:
                caller = workload_of(tuple(names))
            if caller is None:
                raise PermissionDenied("WORKLOAD_DENIED", "the caller has no workload identity")
            call.caller = caller
            if allowed is not None and caller not in allowed:
                raise PermissionDenied(
                    "WORKLOAD_DENIED",
                    f"workload {caller} may not call {path}",
                    metadata={"workload": caller, "method": path},
                )

        return Hooks(admit=admit)


@lru_cache(maxsize=1024)
def workload_of(names: Iterable[bytes]) -> str | None:
    """Return the workload of a certificate's names; None unless they hold exactly one SPIFFE id."""
    found = [name for name in names if name.startswith(b"spiffe://")]
    if len(found) != 1 or not found[0].startswith(TRUST_DOMAIN):
        return None
    return found[0][len(TRUST_DOMAIN) :].decode("ascii", "replace") or None
