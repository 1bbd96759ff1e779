"""Who calls: the SPIFFE id of the client certificate, and what the mesh policy lets it call."""

from collections.abc import Iterable, Mapping
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
            caller = workload_of(context.auth_context())
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


def workload_of(auth: Mapping[str, Iterable[bytes]]) -> str | None:
    """Return the workload of a verified certificate; None unless it carries exactly one id."""
    found = [name for name in auth.get(_SAN, ()) if name.startswith(b"spiffe://")]
    if len(found) != 1 or not found[0].startswith(TRUST_DOMAIN):
        return None
    return found[0][len(TRUST_DOMAIN) :].decode("ascii", "replace") or None
