"""The port of a process: what stands on it, how it opens, how it drains."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pool
from grpc_channelz.v1 import channelz_pb2_grpc
from grpc_channelz.v1._async import ChannelzServicer
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer
from soma.mesh.v1 import service_pb2_grpc as mesh_grpc

from mesh.runtime.accepting import AcceptingServer
from mesh.runtime.authorization import Authorization
from mesh.runtime.errors import ConfigurationError
from mesh.runtime.health import HealthServicer
from mesh.runtime.interceptors import ChainParts, chain
from mesh.runtime.introspection import Introspection
from mesh.runtime.logging import get_logger
from mesh.runtime.server import Served, build_server, server_credentials

if TYPE_CHECKING:
    from mesh.runtime.process import Process

_log = get_logger(__name__)
HEALTH: Final = "grpc.health.v1.Health"
REFLECTION: Final = "grpc.reflection.v1alpha.ServerReflection"
CHANNELZ: Final = "grpc.channelz.v1.Channelz"
INTROSPECTION: Final = "soma.mesh.v1.Introspection"


class Serving:
    """Serves while entered; leaving it drains."""

    def __init__(self, process: "Process", authorization: Authorization) -> None:
        self._process = process
        self._authorization = authorization
        self._server: AcceptingServer

    async def __aenter__(self) -> "Serving":
        process = self._process
        parts = ChainParts(
            authorization=self._authorization,
            stats=process.stats,
            access_log=process.access_log,
            taps=process.taps,
            verifier=process.verifier,
            decider=process.decider,
            decides_itself=frozenset(
                f"/{each.service}/{name}" for each in process.served for name in each.decides_itself
            ),
            tracer=process.tracer,
        )
        server = build_server(
            (*process.served, *self._own_services()),
            interceptors=chain(parts),
            inflight=process.inflight,
            max_message_bytes=process.settings.max_message_bytes,
            max_concurrent_calls=process.settings.max_concurrent_calls,
        )
        try:
            server.add_secure_port(process.settings.listen, server_credentials(process.certificates))
        except RuntimeError as error:
            raise ConfigurationError(f"cannot listen on {process.settings.listen}") from error
        await server.start()
        self._server = server
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        settings, inflight = self._process.settings, self._process.inflight
        grace = self._process.stop.grace
        calls_get = settings.drain_seconds if grace is None else grace
        streams_get = settings.stream_grace_seconds if grace is None else grace
        stopping = asyncio.ensure_future(self._server.stop(calls_get))
        done, _ = await asyncio.wait((stopping,), timeout=min(streams_get, calls_get))
        if not done and (cut := inflight.cut_streams()):
            _log.info("streams cut at drain", streams=cut)
        await stopping

    def _own_services(self) -> list[Served]:
        process = self._process
        introspection = Introspection(
            settings=process.settings,
            stats=process.stats,
            inflight=process.inflight,
            health=process.health,
            taps=process.taps,
            certificates=process.certificates,
            drain=process.stop.request,
        )
        names = {each.service for each in process.served} | process.reflected
        reflection = ReflectionServicer(sorted(names | {HEALTH, REFLECTION}), pool=descriptor_pool.Default())
        process.health.services.add(INTROSPECTION)
        return [
            Served(
                health_pb2_grpc.add_HealthServicer_to_server,
                HealthServicer(process.health), HEALTH, own_contract=False,
            ),
            Served(
                reflection_pb2_grpc.add_ServerReflectionServicer_to_server,
                reflection, REFLECTION, own_contract=False,
            ),
            Served(
                channelz_pb2_grpc.add_ChannelzServicer_to_server,
                ChannelzServicer(), CHANNELZ, own_contract=False,
            ),
            Served(
                mesh_grpc.add_IntrospectionServicer_to_server, introspection, INTROSPECTION
            ),
        ]  # fmt: skip
