"""Request id and trace: taken from the caller where well formed, made here otherwise."""

import re
import time
from typing import Final

from mesh.runtime import trace
from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.hooks import Hooks, Metadata, Outcome, ServicerContext
from mesh.runtime.ids import new_id
from mesh.runtime.telemetry import Tracer

HEADER: Final = "x-request-id"
_FORM: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")


class RequestIdentity:
    """First of the chain, so that everything after it can name the call."""

    def __init__(self, tracer: Tracer | None) -> None:
        """Take the tracer of a process that exports spans, or None."""
        self._tracer = tracer

    def bind(self, contract: MethodContract) -> Hooks:
        """Set request id, trace and deadline; open and close a span where spans are exported."""
        tracer = self._tracer

        def admit(call: CallContext, metadata: Metadata, context: ServicerContext) -> None:
            given = metadata.get(HEADER)
            call.request_id = given if isinstance(given, str) and _FORM.match(given) else new_id("req")
            parent = metadata.get(trace.HEADER)
            found = trace.parse(parent) if isinstance(parent, str) else None
            call.trace = found or trace.new_trace()
            left = context.time_remaining()
            if left is not None:
                call.deadline = time.monotonic() + left
            if tracer is not None:
                tracer.open(call, has_parent=found is not None)

        def finish(call: CallContext, outcome: Outcome) -> None:
            if tracer is not None:
                tracer.close(call, outcome.code.name)

        return Hooks(admit=admit, finish=finish if tracer is not None else None)
