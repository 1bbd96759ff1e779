"""`soma.mesh.v1.ControlPlane`: what operators see and change. Converts and delegates."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc.aio
from google.protobuf import timestamp_pb2
from soma.mesh.v1 import resources_pb2, service_pb2, service_pb2_grpc

from mesh.envoy.snapshot import CANARY
from mesh.pki.errors import UnknownWorkloadError
from mesh.pki.workloads import WORKLOADS, workload
from mesh.runtime.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from mesh.xds.certificates import certificates_of
from mesh.xds.world import short

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from mesh.pki.folder import PkiFolder
    from mesh.runtime.hooks import ServicerContext
    from mesh.xds.current import Current
    from mesh.xds.draining import Draining
    from mesh.xds.fleet import Fleet
    from mesh.xds.members import Member
    from mesh.xds.registry import Delivery, Proxy, Registry
    from mesh.xds.sources import Sources
    from mesh.xds.splits import Split


class ControlPlane(service_pb2_grpc.ControlPlaneServicer):
    """The operator's side of the control plane."""

    def __init__(
        self,
        *,
        sources: Sources,
        current: Current,
        registry: Registry,
        fleet: Fleet,
        pki: PkiFolder | None,
        draining: Draining,
    ) -> None:
        self._sources = sources
        self._current = current
        self._registry = registry
        self._fleet = fleet
        self._pki = pki
        self._draining = draining

    async def GetMeshStatus(
        self, request: service_pb2.GetMeshStatusRequest, context: ServicerContext
    ) -> service_pb2.GetMeshStatusResponse:
        """Ask every process and add the splits."""
        return service_pb2.GetMeshStatusResponse(
            processes=await self._fleet.statuses(),
            splits=[_split(split) for split in self._sources.splits.all()],
        )

    async def ListProxies(
        self, request: service_pb2.ListProxiesRequest, context: ServicerContext
    ) -> service_pb2.ListProxiesResponse:
        """Tell what each proxy was sent and took."""
        return service_pb2.ListProxiesResponse(
            proxies=[self._proxy(proxy) for proxy in self._registry.proxies()]
        )

    async def ListCertificates(
        self, request: service_pb2.ListCertificatesRequest, context: ServicerContext
    ) -> service_pb2.ListCertificatesResponse:
        """Read the certificates of this machine."""
        found = await asyncio.to_thread(certificates_of, self._issuer())
        return service_pb2.ListCertificatesResponse(certificates=found)

    async def RotateCertificates(
        self, request: service_pb2.RotateCertificatesRequest, context: ServicerContext
    ) -> service_pb2.RotateCertificatesResponse:
        """Issue new leaves; servers and channels take them while their calls go on."""
        pki = self._issuer()
        try:
            chosen = [workload(name) for name in request.workloads] or list(WORKLOADS)
        except UnknownWorkloadError as error:
            raise NotFound("NOT_FOUND", str(error)) from error
        names = await asyncio.to_thread(pki.rotate, chosen)
        found = await asyncio.to_thread(certificates_of, pki, names)
        return service_pb2.RotateCertificatesResponse(certificates=found)

    async def DrainProcess(
        self, request: service_pb2.DrainProcessRequest, context: ServicerContext
    ) -> service_pb2.DrainProcessResponse:
        """Take a process out of the traffic, then tell it to end its calls."""
        member = self._member(request.process)
        grace = request.grace if request.HasField("grace") else None
        try:
            in_flight = await self._draining.begin(member, grace)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE", f"{member.process} does not answer: {error.details()}"
            ) from error
        return service_pb2.DrainProcessResponse(in_flight=in_flight)

    async def ShiftTraffic(
        self, request: service_pb2.ShiftTrafficRequest, context: ServicerContext
    ) -> resources_pb2.TrafficSplit:
        """Share a service's calls; refused while it has no canary."""
        self._known_service(request.service)
        if request.canary_percent and not self._has_canary(request.service):
            raise FailedPrecondition(
                "FAILED_PRECONDITION", f"{request.service} has no canary; start one first"
            )
        return self._share(request.service, request.canary_percent)

    async def RollbackTraffic(
        self, request: service_pb2.RollbackTrafficRequest, context: ServicerContext
    ) -> resources_pb2.TrafficSplit:
        """Send everything to stable."""
        self._known_service(request.service)
        return self._share(request.service, 0)

    async def TapMesh(
        self, request: service_pb2.TapMeshRequest, context: ServicerContext
    ) -> AsyncIterator[resources_pb2.TapRecord]:
        """Merge the live calls of all processes, as they redact them."""
        for process in request.processes:
            self._member(process)
        async for record in self._fleet.tap(request.processes, request.method_prefix):
            yield record

    def _share(self, service: str, percent: int) -> resources_pb2.TrafficSplit:
        split = self._sources.splits.set(service, percent)
        self._current.touch()
        return _split(split)

    def _issuer(self) -> PkiFolder:
        if self._pki is None:
            raise FailedPrecondition("FAILED_PRECONDITION", "certificates are issued elsewhere")
        return self._pki

    def _member(self, process: str) -> Member:
        for member in self._sources.members:
            if member.process == process:
                return member
        raise NotFound("NOT_FOUND", f"there is no process {process}")

    def _known_service(self, service: str) -> None:
        if service not in self._current.snapshot.contract.owners:
            known = ", ".join(sorted(self._current.snapshot.contract.owners))
            raise InvalidArgument(
                "INVALID_ARGUMENT", f"the edge routes to no service {service}; it knows {known}"
            )

    def _has_canary(self, service: str) -> bool:
        return any(m.service == service and m.version == CANARY for m in self._sources.members)

    def _proxy(self, proxy: Proxy) -> resources_pb2.Proxy:
        world = self._current.world
        return resources_pb2.Proxy(
            id=proxy.id,
            cluster=proxy.cluster,
            version=proxy.version,
            connected=proxy.connected,
            connect_time=_time(proxy.connect_time),
            resources=[
                _resource(kind, delivery, proxy.differing(kind, world))
                for kind, delivery in sorted(proxy.deliveries.items())
            ],
        )


def _resource(kind: str, delivery: Delivery, differing: list[str]) -> resources_pb2.ProxyResource:
    return resources_pb2.ProxyResource(
        type=short(kind),
        sent_version=delivery.sent_version,
        acked_version=delivery.acked_version,
        nack_message=delivery.nack_message,
        ack_time=None if delivery.ack_time is None else _time(delivery.ack_time),
        names=sorted(delivery.held),
        differing=differing,
    )


def _split(split: Split) -> resources_pb2.TrafficSplit:
    return resources_pb2.TrafficSplit(
        service=split.service,
        canary_percent=split.canary_percent,
        set_time=_time(split.set_time),
    )


def _time(moment: datetime) -> timestamp_pb2.Timestamp:
    made = timestamp_pb2.Timestamp()
    made.FromDatetime(moment)
    return made
