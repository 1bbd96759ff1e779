"""The parts of memory on a running stack, and its service over mTLS as other workloads see it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc.aio
import pytest
from soma.memory.v1 import service_pb2_grpc

from mesh.runtime.certificates import Certificates
from mesh.runtime.channels import MeshChannel
from mesh.stack import probes
from mesh.stack.settings import StackSettings
from tests.integration.memory.parts import Parts, memory_settings, new_tenant, opened
from tests.support import stack as stacks

LARGEST = 32 << 20


@pytest.fixture(scope="session")
async def running() -> StackSettings:
    """A stack whose memory serves: the one that runs, else the tests' own."""
    settings = stacks.shared_settings()
    _, _, port = stacks.address_of(settings, "memory").rpartition(":")
    if not await probes.tcp(int(port)):
        await stacks.running()
    return settings


@pytest.fixture(scope="session")
async def parts(running: StackSettings) -> AsyncIterator[Parts]:
    """Memory's parts in this process."""
    async with opened(memory_settings(str(running.home.root))) as found:
        yield found


class Client:
    """A workload that calls memory with a token."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.memories = service_pb2_grpc.MemoriesStub(channel)
        self.documents = service_pb2_grpc.DocumentsStub(channel)
        self.knowledge = service_pb2_grpc.KnowledgeStub(channel)
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()


def channel_of(running: StackSettings, workload: str) -> MeshChannel:
    """The channel of a workload to memory."""
    return MeshChannel(
        target=f"ipv4:{stacks.address_of(running, 'memory')}",
        workload="memory",
        certificates=Certificates(running.home.pki / workload),
        max_message_bytes=LARGEST,
    )


SCOPES = "memories.read memories.write documents.read documents.write"
Connect = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="session")
async def connect(running: StackSettings) -> AsyncIterator[Connect]:
    """Make clients: each of a tenant (a new one by default), with scopes, as a workload."""
    channels: dict[str, MeshChannel] = {}

    async def make(*, tenant: str = "", scopes: str = SCOPES, workload: str = "gateway") -> Client:
        if workload not in channels:
            channels[workload] = channel_of(running, workload)
        now = int(time.time())
        token = await stacks.sign(
            running,
            {
                "iss": "soma",
                "aud": "soma",
                "sub": f"usr_{'0' * 32}",
                "iat": now,
                "nbf": now - 1,
                "exp": now + 600,
                "jti": f"tok_{now:032x}",
                "tenant": tenant or new_tenant(),
                "scope": scopes,
                "kind": "user",
            },
        )
        return Client(channels[workload], token)

    yield make
    for channel in channels.values():
        await channel.close()
