"""A refusal that quotes its request stays small.

Trailers larger than a proxy takes end the whole connection to the service, and with it the calls of
everybody else that share it.
"""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from soma.memory.v1 import service_pb2 as memory_pb
from soma.memory.v1 import service_pb2_grpc as memory_rpc

from mesh.runtime.status import read
from tests.support.edge import Edge
from tests.support.stack import Stack

LARGE = {
    "one long key": {"\u00df" * 70_000: "x"},
    "many wrong keys": {f"NOT A KEY {number}": "x" for number in range(5000)},
    "keys of control characters": {"\x01" * 50_000: "\x02"},
}


@pytest.mark.parametrize("name", LARGE)
async def test_a_large_refusal_arrives_and_nobody_else_is_cut_off(
    stack: Stack, edge: Edge, name: str
) -> None:
    credentials = grpc.ssl_channel_credentials(stack.ca_file.read_bytes())
    metadata = (("authorization", f"Bearer {edge.key}"),)
    async with grpc.aio.secure_channel(stack.grpc_target, credentials) as channel:
        memories = memory_rpc.MemoriesStub(channel)
        listing = memory_pb.ListMemoriesRequest(page_size=1)

        async def others() -> None:
            for _ in range(10):
                await memories.ListMemories(listing, metadata=metadata, timeout=30)

        async with asyncio.TaskGroup() as group:
            group.create_task(others())
            for _ in range(3):
                request = memory_pb.RememberRequest(text="x", labels=LARGE[name])
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await memories.Remember(request, metadata=metadata, timeout=30)
                assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert read(refused.value).violations
