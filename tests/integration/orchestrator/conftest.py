"""A client of the shared stack's edge."""

from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from tests.support.stack import Stack
from tests.support.wires import GrpcClient


@pytest.fixture(scope="session")
async def client(stack: Stack) -> AsyncIterator[GrpcClient]:
    credentials = grpc.ssl_channel_credentials(stack.ca_file.read_bytes())
    async with grpc.aio.secure_channel(stack.grpc_target, credentials) as channel:
        yield GrpcClient(channel, stack.api_key)
