"""One trace from the edge over Kafka to the worker, as a collector of OpenTelemetry receives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_rpc

from mesh.stack.client_file import ClientFile
from tests.support.edge import Edge
from tests.support.stack import OwnStacks, soma

PORT = 17990
ROAD = {"edge", "orchestrator", "worker-slm", "worker-projections"}
# Records of audit travel to the audit service together, in a call that belongs to the first one's trace.
SPANS = {"slm.requests process", "slm.responses process", "generate bootstrap", "audit.records process"}


@dataclass(slots=True)
class Collector(otlp_rpc.TraceServiceServicer):
    """Receives spans by OTLP over gRPC; names of (process, span) by trace id."""

    traces: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    async def Export(
        self, request: otlp.ExportTraceServiceRequest, _context: object
    ) -> otlp.ExportTraceServiceResponse:
        """Keep what was sent."""
        for resource in request.resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    known = self.traces.setdefault(span.trace_id.hex(), set())
                    known.add((names.get("service.name", ""), span.name))
        return otlp.ExportTraceServiceResponse()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """A collector on loopback."""
    found = Collector()
    server = grpc.aio.server()
    otlp_rpc.add_TraceServiceServicer_to_server(found, server)
    server.add_insecure_port(f"127.0.0.1:{PORT}")
    await server.start()
    yield found
    await server.stop(0)


async def test_a_turn_is_one_trace_from_the_edge_to_the_worker(
    own: OwnStacks, collector: Collector, http: aiohttp.ClientSession
) -> None:
    settings = own.settings()
    extra = {"SOMA_OTLP_ENDPOINT": f"http://127.0.0.1:{PORT}", "SOMA_TRACE_RATIO": "1"}
    await soma(settings, "up", extra=extra)
    client = ClientFile.read(settings.home.client)
    assert client is not None
    edge = Edge(http, url=client.edge_url, key=client.api_key)
    frames = await edge.turn(await edge.session("bootstrap"), "Hello", options={"max_tokens": 8})
    assert frames.end == "completed"
    async with asyncio.timeout(30):
        # `up` asks `guide` a question of its own, and spans come in batches: this turn's trace is
        # the one whose spans, all of them, name the road and this turn's model.
        while not any(_tells_of_the_turn(trace) for trace in collector.traces.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def _tells_of_the_turn(trace: set[tuple[str, str]]) -> bool:
    return {process for process, _ in trace} >= ROAD and {span for _, span in trace} >= SPANS
