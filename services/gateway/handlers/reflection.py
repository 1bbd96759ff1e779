"""Which services the gateway's reflection tells of: every one that the edge serves.

Importing the generated modules puts their descriptors into the pool that
reflection reads.
"""

from __future__ import annotations

from google.protobuf.descriptor import FileDescriptor
from soma.audit.v1 import service_pb2 as audit
from soma.gateway.v1 import service_pb2 as gateway
from soma.identity.v1 import service_pb2 as identity
from soma.memory.v1 import service_pb2 as memory
from soma.options.v1 import options_pb2
from soma.orchestrator.v1 import service_pb2 as orchestrator
from soma.policy.v1 import service_pb2 as policy
from soma.slm.v1 import service_pb2 as slm

FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR for module in (audit, gateway, identity, memory, orchestrator, policy, slm)
)


def services_of_the_edge() -> list[str]:
    """Full names of the services with at least one method that needs no workload's certificate."""
    return sorted(
        service.full_name
        for file in FILES
        for service in file.services_by_name.values()
        if any(_at_edge(method) for method in service.methods)
    )


def _at_edge(method: object) -> bool:
    access = method.GetOptions().Extensions[options_pb2.method].access  # type: ignore[attr-defined]  # descriptors are untyped here
    return bool(access in (options_pb2.ACCESS_TOKEN, options_pb2.ACCESS_PUBLIC))
