"""The gRPC server: Qdrant's services, the health service, and the API key in front of both.

Every method of Qdrant's protocol is registered; one without a handler answers UNIMPLEMENTED. All
but the health checks need the API key, which is what keeps other processes of the machine out.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mesh.stack.vectors import admin, reads, writes
from mesh.stack.vectors.collections import Collections
from mesh.stack.vectors.errors import RefusedError, from_engine, unimplemented
from mesh.stack.vectors.protocol import messages as q

Handler = Callable[[Collections, Any], Any]
HANDLERS: Final[Mapping[str, Handler]] = {**admin.HANDLERS, **reads.HANDLERS, **writes.HANDLERS}
LARGEST_MESSAGE: Final = 64 << 20
API_KEY: Final = "api-key"
_OPEN: Final = ("/grpc.health.v1.Health/", "/qdrant.Qdrant/HealthCheck")
_SERVED: Final = ("qdrant.Qdrant", "qdrant.Collections", "qdrant.Points")
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.so_reuseport", 0),
)


class RequireKey(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Refuses calls that do not carry the API key."""

    def __init__(self, key: str) -> None:
        """Take the key.

        Raises:
            ValueError: it is empty.
        """
        if not key:
            raise ValueError("the API key is empty")
        self._key = key.encode()
        self._refusal = grpc.unary_unary_rpc_method_handler(_refuse)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Compare the key of a call in constant time."""
        if handler_call_details.method.startswith(_OPEN):
            return await continuation(handler_call_details)
        for name, given in handler_call_details.invocation_metadata or ():
            content = given if isinstance(given, bytes) else given.encode()
            if name == API_KEY and hmac.compare_digest(content, self._key):
                return await continuation(handler_call_details)
        return self._refusal


async def _refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the api-key is missing or wrong")


def _call(collections: Collections, handler: Handler | None, name: str, *, timed: bool) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        begin = time.perf_counter()
        try:
            if handler is None:
                raise unimplemented(name)
            reply = handler(collections, request)
        except RefusedError as refusal:
            await context.abort(refusal.code, str(refusal))
        except Exception as error:  # noqa: BLE001 (the engine raises nothing narrower)
            known = from_engine(error)
            await context.abort(known.code, str(known))
        if timed:
            reply.time = time.perf_counter() - begin
        return reply

    return call


def _services(collections: Collections) -> Iterator[Any]:
    pool = q.QueryPoints.DESCRIPTOR.file.pool
    for name in _SERVED:
        service = pool.FindServiceByName(name)
        methods = {
            method.name: grpc.unary_unary_rpc_method_handler(
                _call(
                    collections,
                    HANDLERS.get(f"{name}/{method.name}"),
                    f"{service.name}.{method.name}",
                    timed="time" in method.output_type.fields_by_name,
                ),
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=GetMessageClass(method.output_type).SerializeToString,
            )
            for method in service.methods
        }
        yield grpc.method_handlers_generic_handler(name, methods)


async def build(collections: Collections, *, key: str) -> grpc.aio.Server:
    """Build the server; the caller adds the port and starts it."""
    server = grpc.aio.server(interceptors=[RequireKey(key)], options=list(_OPTIONS))
    server.add_generic_rpc_handlers(tuple(_services(collections)))
    checks = health.aio.HealthServicer()  # type: ignore[attr-defined]  # missing in the stubs
    for name in ("", *_SERVED):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    return server
