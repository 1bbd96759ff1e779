"""A running projections worker, a producer of what it reads, and the services that it writes to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest
from soma.audit.v1 import service_pb2_grpc as audit_rpc

from mesh.events.bus import Bus
from mesh.runtime.ids import new_id
from mesh.runtime.settings import ProcessSettings
from mesh.stack.catalogue import BY_NAME
from mesh.stack.environment import Environment
from mesh.stack.settings import StackSettings
from tests.support import stack as stacks
from tests.support.identity import channel_as

NEEDED = "postgres,redis,kafka,triton,vectors,identity,policy,audit,slm,memory,worker-projections"
Records: TypeAlias = "audit_rpc.RecordsAsyncStub"


@pytest.fixture(scope="session")
async def settings() -> StackSettings:
    """The shared stack, or of it what projections need."""
    found = stacks.shared_settings()
    await stacks.soma(found, "up", "--only", NEEDED)
    return found


def process_settings(settings: StackSettings, workload: str) -> ProcessSettings:
    """The settings of a workload of the stack."""
    environment = Environment(settings).of_workload(
        BY_NAME[workload], process=f"{workload}-test", listen=1, metrics=1, version="stable"
    )
    names = {name.removeprefix("SOMA_").lower(): text for name, text in environment.items()}
    wanted = {name: text for name, text in names.items() if name in ProcessSettings.model_fields}
    return ProcessSettings.model_validate({**wanted, "peers": {}})


@pytest.fixture(scope="session")
async def bus(settings: StackSettings) -> AsyncIterator[Bus]:
    """A producer with the orchestrator's certificate."""
    async with Bus.open(process_settings(settings, "orchestrator")) as opened:
        yield opened


@pytest.fixture(scope="session")
async def records(settings: StackSettings) -> AsyncIterator[Records]:
    """Audit as the edge calls it."""
    async with channel_as(settings, "edge", to="audit") as channel:
        yield audit_rpc.RecordsStub(channel)


@pytest.fixture
def tenant() -> str:
    """A tenant of the test's own."""
    return new_id("tnt")
