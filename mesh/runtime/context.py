"""The call in progress: who asks, for which tenant, until when.

One `CallContext` exists per incoming call (or per record that a consumer
handles) and is found by `current()` anywhere below the handler. The interceptor
chain fills it in; everybody else only reads it.
"""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from mesh.runtime.decisions import Decision
from mesh.runtime.ids import new_id
from mesh.runtime.trace import TraceContext, new_trace


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified token stands for."""

    subject: str
    kind: str
    tenant: str
    scopes: frozenset[str]
    token_id: str


@dataclass(slots=True, kw_only=True, eq=False)
class CallContext:
    """One call. `tenant` is empty for methods that touch no tenant's data."""

    method: str
    request_id: str
    trace: TraceContext
    caller: str = ""
    """The calling workload by its certificate; the process's own name outside of a call."""
    tenant: str = ""
    principal: Principal | None = None
    deadline: float | None = None
    """On the scale of `time.monotonic()`."""
    idempotency_key: str = ""
    request_digest: bytes = b""
    bearer: str = field(default="", repr=False)
    """The verified token, passed on to other services; never logged."""
    acting: bool = False
    """True where this process acts for a tenant without a token."""
    decided: Decision | None = field(default=None, repr=False)
    """What the policy said, set by who asked it; `decision` is what others read."""

    @property
    def decision(self) -> Decision | None:
        """The policy's decision on the call, with an id; None where no rule was asked.

        The id is made when first asked for: most calls leave no record that names it.
        """
        found = self.decided
        if found is not None and not found.id:
            found = self.decided = found.identified(new_id("dec"))
        return found

    def remaining(self) -> float | None:
        """Return the seconds left until the deadline, or None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class NoCallError(LookupError):
    """Code that needs a call in progress ran outside of one."""


_CURRENT: ContextVar[CallContext | None] = ContextVar("soma_call", default=None)


def current() -> CallContext:
    """Return the call in progress.

    Raises:
        NoCallError: outside of a call and of `acting_for`.
    """
    call = _CURRENT.get()
    if call is None:
        raise NoCallError("no call is in progress here")
    return call


def current_or_none() -> CallContext | None:
    """Return the call in progress, or None outside of one."""
    return _CURRENT.get()


def enter_call(call: CallContext) -> None:
    """Make `call` the one in progress for the rest of this task (the server's own use)."""
    _CURRENT.set(call)


@contextlib.contextmanager
def calling(call: CallContext) -> Iterator[None]:
    """Make `call` the one in progress for a while."""
    token = _CURRENT.set(call)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextlib.contextmanager
def acting_for(
    *, tenant: str, request_id: str = "", trace: TraceContext | None = None, method: str = ""
) -> Iterator[CallContext]:
    """Act for `tenant` without a token; outgoing calls carry `x-soma-tenant`.

    The other side takes it only on methods whose access is ACCESS_WORKLOAD, and
    only from workloads that the mesh policy lists.

    Raises:
        ValueError: `tenant` is empty.
    """
    if not tenant:
        raise ValueError("acting_for needs a tenant")
    outer = _CURRENT.get()
    call = CallContext(
        method=method or (outer.method if outer else ""),
        request_id=request_id or (outer.request_id if outer else new_id("req")),
        trace=trace or (outer.trace if outer else new_trace()),
        tenant=tenant,
        deadline=outer.deadline if outer else None,
        acting=True,
    )
    with calling(call):
        yield call
