"""OpenTelemetry spans, where a collector is configured; the SDK is not even imported otherwise."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mesh.runtime.context import CallContext, calling, current_or_none
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
        parent = self._parent(call.trace) if has_parent else None
        span = self._tracer.start_span(call.method, context=parent, kind=self._otel.SpanKind.SERVER)
        call.trace = self._context_of(span)
        if span.is_recording():
            self._open[id(call)] = span

    @contextlib.contextmanager
    def child(self, call: CallContext, name: str, *, consumes: bool) -> Iterator[None]:
        """Span a piece of work of a call; what the work sends is below this span."""
        kinds = self._otel.SpanKind
        kind = kinds.CONSUMER if consumes else kinds.INTERNAL
        span = self._tracer.start_span(name, context=self._parent(call.trace), kind=kind)
        span.set_attribute("soma.request_id", call.request_id)
        span.set_attribute("soma.tenant", call.tenant)
        try:
            with calling(replace(call, trace=self._context_of(span))):
                yield
        except BaseException as error:
            span.set_status(self._otel.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            span.end()

    def _parent(self, trace: TraceContext) -> Any:
        otel = self._otel
        flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if trace.sampled else 0)
        remote = otel.SpanContext(
            int(trace.trace_id, 16), int(trace.span_id, 16), is_remote=True, trace_flags=flags
        )
        return otel.set_span_in_context(otel.NonRecordingSpan(remote))

    def _context_of(self, span: Any) -> TraceContext:
        own = span.get_span_context()
        return TraceContext(f"{own.trace_id:032x}", f"{own.span_id:016x}", own.trace_flags.sampled)

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


@contextlib.contextmanager
def work(tracer: Tracer | None, name: str, *, consumes: bool = False) -> Iterator[None]:
    """Span a piece of work of the call in progress; without a tracer, or a call, only do it."""
    call = current_or_none()
    if tracer is None or call is None:
        yield
        return
    with tracer.child(call, name, consumes=consumes):
        yield


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
