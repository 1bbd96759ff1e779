"""What an outgoing call takes with it: token or tenant, request id, trace, deadline.

Precomputed per method when a stub is made; nothing is looked up per call but the
call in progress.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from soma.options.v1 import options_pb2

from mesh.runtime import trace
from mesh.runtime.context import current_or_none
from mesh.runtime.contract import method_by_path
from mesh.runtime.errors import DeadlineExceeded
from mesh.runtime.ids import new_id

DEFAULT_SECONDS: Final = 5.0
AUTHORIZATION: Final = "authorization"
REQUEST_ID: Final = "x-request-id"
TENANT: Final = "x-soma-tenant"
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """One method as a client sees it."""

    path: str
    default_seconds: float | None
    """A stream has no default: it lives as long as its reader, or the call it serves."""
    fills_request_id: bool
    tenant_from_workload: bool

    @classmethod
    def of(cls, path: str, kind: str) -> "OutgoingCall":
        """Read what the method's annotations say."""
        contract = method_by_path(path)
        streams = kind != "unary_unary"
        return cls(
            path=path,
            default_seconds=None if streams else DEFAULT_SECONDS,
            fills_request_id=bool(contract and not contract.request_streaming and contract.takes_request_id),
            tenant_from_workload=bool(contract and contract.tenant == options_pb2.TENANT_FROM_WORKLOAD),
        )

    def prepare(self, request: Any) -> Any:
        """Give a mutation its request id, so that a retry of it has one effect."""
        if self.fills_request_id and not request.request_id:
            request.request_id = new_id("req")
        return request

    def timeout(self, asked: float | None) -> float | None:
        """Return the deadline in seconds: the asked or default one, at most what is left.

        Raises:
            DeadlineExceeded: nothing is left.
        """
        limit = self.default_seconds if asked is None else asked
        call = current_or_none()
        left = call.remaining() if call is not None else None
        if left is None:
            return limit
        if left <= 0.0:
            raise DeadlineExceeded("DEADLINE_EXCEEDED", f"no time is left to call {self.path}")
        return left if limit is None else min(limit, left)

    def metadata(self, given: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
        """Return the metadata to send; what the caller gave stands.

        The tenant goes to methods that take it from a workload, the token to all others: each
        side learns no more than it asks for.
        """
        own = dict(given) if given else {}
        call = current_or_none()
        if call is None:
            own.setdefault(REQUEST_ID, new_id("req"))
            own.setdefault(trace.HEADER, trace.new_trace().header())
            return tuple(own.items())
        own.setdefault(REQUEST_ID, call.request_id)
        own.setdefault(trace.HEADER, call.trace.header())
        if self.tenant_from_workload:
            if call.tenant:
                own.setdefault(TENANT, call.tenant)
        elif call.bearer and not call.acting:
            own.setdefault(AUTHORIZATION, f"Bearer {call.bearer}")
        return tuple(own.items())
