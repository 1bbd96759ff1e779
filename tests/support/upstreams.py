"""Small real gRPC servers behind a real edge.

They speak the contracts, show real certificates, and keep what arrived, so that tests can look at
what the edge lets through.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.api import httpbody_pb2
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from soma.gateway.v1 import ratelimit_pb2
from soma.gateway.v1 import service_pb2_grpc as gateway_grpc
from soma.identity.v1 import resources_pb2 as identity_pb2
from soma.identity.v1 import service_pb2 as identity_service_pb2
from soma.identity.v1 import service_pb2_grpc as identity_grpc
from soma.memory.v1 import resources_pb2 as memory_pb2
from soma.memory.v1 import service_pb2_grpc as memory_grpc
from soma.orchestrator.v1 import resources_pb2 as turns_pb2
from soma.orchestrator.v1 import service_pb2_grpc as turns_grpc

from mesh.pki.files import read_identity
from services.gateway.handlers.ratelimits import answer_of
from tests.support.issuer import Issuer

LIMITED_TENANT = "limited"


@dataclass(slots=True)
class Arrived:
    """What upstreams saw: method, metadata, request."""

    calls: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    def note(self, method: str, context: Any, request: Any) -> None:
        """Keep one call."""
        self.calls.append((method, dict(context.invocation_metadata()), request))

    @property
    def last(self) -> tuple[str, dict[str, str], Any]:
        """The newest one."""
        return self.calls[-1]


async def refuse(context: Any, code: grpc.StatusCode, reason: str, message: str) -> None:
    """Abort as the services do: google.rpc.Status with ErrorInfo."""
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="soma"))
    status = status_pb2.Status(code=code.value[0], message=message, details=[packed])
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, message, details)


class Trust(identity_grpc.TrustServicer):
    """Keys and revocations."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._revoked: dict[str, identity_pb2.Revocation] = {}
        self._changed = asyncio.Event()

    def revoke(self, token_id: str) -> None:
        self._revoked[token_id] = identity_pb2.Revocation(token_id=token_id)
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def GetJwks(self, request: Any, context: Any) -> httpbody_pb2.HttpBody:
        return httpbody_pb2.HttpBody(content_type="application/json", data=self._issuer.jwks())

    async def WatchTrust(
        self, request: Any, context: Any
    ) -> AsyncIterator[identity_service_pb2.WatchTrustResponse]:
        while True:
            changed = self._changed
            yield identity_service_pb2.WatchTrustResponse(revocations=self._revoked.values(), reset=True)
            await changed.wait()


class Sessions(turns_grpc.SessionsServicer):
    """Answers with what it was asked."""

    def __init__(self, arrived: Arrived, name: str) -> None:
        self._arrived = arrived
        self._name = name

    async def CreateSession(self, request: Any, context: Any) -> turns_pb2.Session:
        self._arrived.note("CreateSession", context, request)
        if request.persona == "broken":
            await refuse(context, grpc.StatusCode.INTERNAL, "INTERNAL", "internal error")
        return turns_pb2.Session(id="ses_1", persona=request.persona, display_name=self._name)

    async def GetSession(self, request: Any, context: Any) -> turns_pb2.Session:
        self._arrived.note("GetSession", context, request)
        if request.session_id == "ses_gone":
            await refuse(context, grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "session ses_gone does not exist")
        return turns_pb2.Session(id=request.session_id, display_name=self._name)


class Turns(turns_grpc.TurnsServicer):
    """Streams as many deltas as the input says: `<count> <seconds between>`."""

    def __init__(self, arrived: Arrived, name: str) -> None:
        self._arrived = arrived
        self._name = name
        self.ended = 0

    async def StreamTurn(self, request: Any, context: Any) -> AsyncIterator[turns_pb2.TurnEvent]:
        self._arrived.note("StreamTurn", context, request)
        count, pause = request.input.text.split()
        try:
            yield turns_pb2.TurnEvent(seq=0, accepted=turns_pb2.Accepted(turn_id="trn_1"))
            for number in range(1, int(count)):
                await asyncio.sleep(float(pause))
                yield turns_pb2.TurnEvent(seq=number, delta=turns_pb2.Delta(text=self._name))
            yield turns_pb2.TurnEvent(seq=int(count), completed=turns_pb2.Completed())
        finally:
            self.ended += 1

    async def CreateTurn(self, request: Any, context: Any) -> turns_pb2.Turn:
        self._arrived.note("CreateTurn", context, request)
        return turns_pb2.Turn(id="trn_1", session_id=request.session_id, text=request.input.text)


class Documents(memory_grpc.DocumentsServicer):
    """Tells how much it was given."""

    async def IngestDocument(self, request: Any, context: Any) -> memory_pb2.Document:
        return memory_pb2.Document(title=f"{len(request.content)} bytes")


class OpenAI(gateway_grpc.OpenAIServicer):
    """One model."""

    async def CreateChatCompletion(self, request: Any, context: Any) -> AsyncIterator[httpbody_pb2.HttpBody]:
        if b'"nosuch"' in request.data:
            await refuse(
                context, grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", 'model "nosuch" does not exist'
            )
        yield httpbody_pb2.HttpBody(content_type="application/json", data=request.data)

    async def ListModels(self, request: Any, context: Any) -> httpbody_pb2.HttpBody:
        return httpbody_pb2.HttpBody(content_type="application/json", data=b'{"object":"list","data":[]}')


class Pages(gateway_grpc.PagesServicer):
    """Health for everybody."""

    async def GetHealth(self, request: Any, context: Any) -> httpbody_pb2.HttpBody:
        return httpbody_pb2.HttpBody(content_type="application/json", data=b'{"status":"ok"}')


async def should_rate_limit(request: Any, context: Any) -> ratelimit_pb2.RateLimitResponse:
    """Refuse one tenant."""
    tenants = [e.value for d in request.descriptors for e in d.entries if e.key == "tenant"]
    code = (
        ratelimit_pb2.RATE_LIMIT_CODE_OVER_LIMIT
        if LIMITED_TENANT in tenants
        else ratelimit_pb2.RATE_LIMIT_CODE_OK
    )
    statuses = [ratelimit_pb2.RateLimitStatus(code=code) for _ in request.descriptors]
    return answer_of(statuses)


class Upstreams:
    """The servers, one a workload, each with that workload's certificate."""

    def __init__(self, pki: Path, issuer: Issuer) -> None:
        self.arrived = Arrived()
        self.trust = Trust(issuer)
        self.turns: dict[str, Turns] = {}
        self._pki = pki
        self._servers: dict[str, grpc.aio.Server] = {}

    async def start(self, process: str, workload: str, address: str) -> None:
        """Start one."""
        server = grpc.aio.server(options=(("grpc.max_receive_message_length", 32 * 1024 * 1024),))
        identity = read_identity(self._pki / workload)
        credentials = grpc.ssl_server_credentials(
            [(identity.key_pem, identity.chain_pem)], identity.ca_pem, require_client_auth=True
        )
        health = HealthServicer()
        await health.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        self._add(server, process, workload)
        server.add_secure_port(address, credentials)
        await server.start()
        self._servers[process] = server

    def _add(self, server: grpc.aio.Server, process: str, workload: str) -> None:
        match workload:
            case "identity":
                identity_grpc.add_TrustServicer_to_server(self.trust, server)
            case "orchestrator":
                self.turns[process] = Turns(self.arrived, process)
                turns_grpc.add_SessionsServicer_to_server(Sessions(self.arrived, process), server)
                turns_grpc.add_TurnsServicer_to_server(self.turns[process], server)
            case "memory":
                memory_grpc.add_DocumentsServicer_to_server(Documents(), server)
            case "gateway":
                gateway_grpc.add_OpenAIServicer_to_server(OpenAI(), server)
                gateway_grpc.add_PagesServicer_to_server(Pages(), server)
                handler = grpc.unary_unary_rpc_method_handler(
                    should_rate_limit,
                    request_deserializer=ratelimit_pb2.RateLimitRequest.FromString,
                    response_serializer=ratelimit_pb2.RateLimitResponse.SerializeToString,
                )
                server.add_registered_method_handlers(
                    "envoy.service.ratelimit.v3.RateLimitService", {"ShouldRateLimit": handler}
                )

    async def stop(self, process: str) -> None:
        """Stop one at once."""
        await self._servers.pop(process).stop(0)

    async def stop_all(self) -> None:
        """Stop all."""
        for process in list(self._servers):
            await self.stop(process)
