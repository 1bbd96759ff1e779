"""OpenTelemetry spans, where a collector is configured; the SDK is not even imported otherwise."""

from typing import TYPE_CHECKING, Any

from mesh.runtime.context import CallContext
from mesh.runtime.trace import TraceContext

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Tracer:
    """Opens and closes a span per call, child of the caller's span."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Take the provider that exports."""
        from opentelemetry import trace as otel

        self._otel = otel
        self._provider = provider
        self._tracer = provider.get_tracer("soma.mesh.runtime")
        self._open: dict[int, Any] = {}

    def open(self, call: CallContext, *, has_parent: bool) -> None:
        """Start a span; the call's trace becomes the span's."""
        otel = self._otel
        parent = None
        if has_parent:
            flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if call.trace.sampled else 0)
            remote = otel.SpanContext(
                int(call.trace.trace_id, 16), int(call.trace.span_id, 16), is_remote=True,
                trace_flags=flags,
            )  # fmt: skip
            parent = otel.set_span_in_context(otel.NonRecordingSpan(remote))
        span = self._tracer.start_span(call.method, context=parent, kind=otel.SpanKind.SERVER)
        own = span.get_span_context()
        call.trace = TraceContext(f"{own.trace_id:032x}", f"{own.span_id:016x}", own.trace_flags.sampled)
        if span.is_recording():
            self._open[id(call)] = span

    def close(self, call: CallContext, code: str) -> None:
        """End the span of a call."""
        span = self._open.pop(id(call), None)
        if span is None:
            return
        span.set_attribute("rpc.system", "grpc")
        span.set_attribute("rpc.grpc.status", code)
        span.set_attribute("soma.request_id", call.request_id)
        span.set_attribute("soma.caller", call.caller)
        span.set_attribute("soma.tenant", call.tenant)
        if code != "OK":
            span.set_status(self._otel.StatusCode.ERROR, code)
        span.end()

    def shutdown(self) -> None:
        """Send what is held and stop; bounded by the exporter's timeout."""
        self._provider.shutdown()


def start(*, process: str, version: str, endpoint: str, ratio: float) -> Tracer | None:
    """Return a tracer that exports to `endpoint`, or None where there is no endpoint."""
    if not endpoint:
        return None
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(
        resource=Resource.create({"service.name": process, "service.version": version}),
        sampler=ParentBased(TraceIdRatioBased(ratio)),
    )
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=2))
    )
    return Tracer(provider)
