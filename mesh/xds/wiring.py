"""Builds the control plane."""

from __future__ import annotations

import time

from soma.mesh.v1 import service_pb2_grpc

from mesh.envoy.contract import ContractError
from mesh.pki.errors import PkiError
from mesh.pki.folder import PkiFolder
from mesh.runtime.errors import ConfigurationError
from mesh.runtime.process import Process
from mesh.xds import discovery, revocations
from mesh.xds.config import Settings
from mesh.xds.control_plane import ControlPlane
from mesh.xds.current import Current
from mesh.xds.draining import Draining
from mesh.xds.encoded_store import EncodedStore
from mesh.xds.encoding import Encoder
from mesh.xds.errors import XdsError
from mesh.xds.fleet import Fleet
from mesh.xds.registry import Registry
from mesh.xds.renewal import renew_for_ever
from mesh.xds.sources import Sources


async def build(process: Process, settings: Settings) -> None:
    """Serve ADS to edges and the operator's RPCs to operators."""
    try:
        sources = Sources(settings)
    except (XdsError, PkiError, ContractError, OSError) as error:
        raise ConfigurationError(str(error)) from error
    store = EncodedStore(settings.home / "data" / "xds")
    current = Current(sources.snapshot, Encoder(store))
    registry = Registry()
    fleet = await process.enter(
        Fleet(
            members=lambda: sources.members,
            certificates=process.certificates,
            max_message_bytes=settings.max_message_bytes,
        )
    )
    draining = await process.enter(Draining(sources=sources, fleet=fleet, changed=current.touch))
    pki = PkiFolder(settings.home / "pki") if settings.certificates_renewed else None
    operators = ControlPlane(
        sources=sources,
        current=current,
        registry=registry,
        fleet=fleet,
        pki=pki,
        draining=draining,
    )
    process.serve(
        discovery.register,
        discovery.Discovery(current, registry),
        service=discovery.SERVICE,
        own_contract=False,
    )
    process.serve(
        service_pb2_grpc.add_ControlPlaneServicer_to_server,
        operators,
        service="soma.mesh.v1.ControlPlane",
    )
    process.own(current.keep(), name="world")
    process.own(sources.watch(current.touch), name="sources")
    follow = revocations.follow(sources.revocations, process.channel("identity"), current.touch)
    process.own(follow, name="revocations")
    prune = revocations.prune_for_ever(sources.revocations, time.time, current.touch)
    process.own(prune, name="expired revocations")
    if pki is not None:
        process.own(renew_for_ever(pki), name="certificate renewal")
