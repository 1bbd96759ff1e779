"""The interceptor chain; this is the one list of its order.

The first four see every call, the refused ones too; each of the others may
refuse. Errors are mapped in the middle, by `mesh.runtime.handlers`, which calls
`errors.translate` for whatever the part below raised.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.runtime.accesslog import AccessLog
from mesh.runtime.authentication import TokenVerifier
from mesh.runtime.authorization import Authorization
from mesh.runtime.callstats import CallStats
from mesh.runtime.decisions import Decider
from mesh.runtime.hooks import Interceptor
from mesh.runtime.interceptors.access_log import AccessLogging
from mesh.runtime.interceptors.authentication import Authentication
from mesh.runtime.interceptors.idempotency import Idempotency
from mesh.runtime.interceptors.metrics import Metrics
from mesh.runtime.interceptors.policy import PolicyCheck
from mesh.runtime.interceptors.request_id import RequestIdentity
from mesh.runtime.interceptors.scope import ScopeCheck
from mesh.runtime.interceptors.tenant import TenantCheck
from mesh.runtime.interceptors.validation import Validation
from mesh.runtime.interceptors.workload import WorkloadCheck
from mesh.runtime.tap import TapHub
from mesh.runtime.telemetry import Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainParts:
    """What the interceptors of one process share."""

    authorization: Authorization
    stats: CallStats
    access_log: AccessLog
    taps: TapHub
    verifier: TokenVerifier | None = None
    decider: Decider | None = None
    decides_itself: frozenset[str] = frozenset()
    tracer: Tracer | None = None


def chain(parts: ChainParts) -> Sequence[Interceptor]:
    """Return the interceptors in their order."""
    return (
        RequestIdentity(parts.tracer),
        Metrics(parts.stats),
        AccessLogging(parts.access_log, parts.taps),
        # errors: mesh.runtime.interceptors.errors.translate
        WorkloadCheck(parts.authorization),
        Authentication(parts.verifier),
        TenantCheck(),
        ScopeCheck(),
        PolicyCheck(parts.decider, decides_itself=parts.decides_itself),
        Validation(),
        Idempotency(),
    )
