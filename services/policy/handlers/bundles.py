"""`soma.policy.v1.Bundles`."""

from collections.abc import AsyncIterator

from soma.policy.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.hooks import ServicerContext
from services.policy.domain.publisher import Publisher


class Bundles(service_pb2_grpc.BundlesServicer):
    """Streams the signed bundle to every service."""

    def __init__(self, *, publisher: Publisher, heartbeat: float) -> None:
        """Take who signs, and the longest silence in seconds."""
        self._publisher = publisher
        self._heartbeat = heartbeat

    async def WatchBundle(
        self, request: service_pb2.WatchBundleRequest, context: ServicerContext
    ) -> AsyncIterator[service_pb2.WatchBundleResponse]:
        """Stream the bundle in force at once, then each newer one; heartbeats between."""
        del request, context
        serial = 0
        while True:
            serial, signed = await self._publisher.next(serial, within=self._heartbeat)
            yield service_pb2.WatchBundleResponse(signed_bundle=signed)
