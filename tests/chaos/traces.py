"""A collector of OpenTelemetry that keeps all it is sent, so that traces can be searched for canaries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_rpc

from tests.chaos.canaries import Spotter
from tests.chaos.held import Sighting
from tests.chaos.journal import Owner

GRACE_SECONDS = 2.0


@dataclass(slots=True)
class Traces(otlp_rpc.TraceServiceServicer):
    """What came, in bytes."""

    received: list[bytes] = field(default_factory=list)
    spans: int = 0

    async def Export(
        self, request: otlp.ExportTraceServiceRequest, _context: object
    ) -> otlp.ExportTraceServiceResponse:
        """Keep what was sent."""
        self.received.append(request.SerializeToString())
        self.spans += sum(len(scope.spans) for one in request.resource_spans for scope in one.scope_spans)
        return otlp.ExportTraceServiceResponse()

    def sightings(self, owners: Sequence[Owner]) -> list[Sighting]:
        """Canaries in spans: attributes, events, names; nobody's place."""
        spotter = Spotter(owners)
        return [found for raw in self.received for found in spotter.sightings(raw, place="traces")]


@asynccontextmanager
async def collecting(port: int) -> AsyncIterator[Traces]:
    """Collect on a port of loopback."""
    found = Traces()
    server = grpc.aio.server()
    otlp_rpc.add_TraceServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield found
    finally:
        await server.stop(GRACE_SECONDS)
