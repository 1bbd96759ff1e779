"""Every method of the contracts, callable by its descriptor alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from soma.options.v1 import options_pb2

from mesh.policy import catalogue
from mesh.runtime.contract import MethodContract, contract_of
from tests.support.tokens import Metadata


@dataclass(frozen=True)
class Method:
    """One method."""

    contract: MethodContract
    descriptor: MethodDescriptor

    @property
    def workload(self) -> str:
        """Who serves it."""
        return self.contract.service.split(".")[1]

    def __str__(self) -> str:
        return self.contract.path[1:]

    async def call(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        """Call it with an empty request and read one answer.

        Raises:
            grpc.aio.AioRpcError: the call was refused.
        """
        request = GetMessageClass(self.descriptor.input_type)()
        codecs: tuple[Any, Any] = (
            type(request).SerializeToString,
            GetMessageClass(self.descriptor.output_type).FromString,
        )
        if self.contract.response_streaming:
            stream: Any = channel.unary_stream(self.contract.path, *codecs)
            await stream(request, metadata=metadata, timeout=10).read()
        else:
            unary: Any = channel.unary_unary(self.contract.path, *codecs)
            await unary(request, metadata=metadata, timeout=10)


def with_token() -> Iterator[Method]:
    """Yield the methods whose access is ACCESS_TOKEN."""
    for service in catalogue.services():
        for descriptor in service.methods:
            contract = contract_of(descriptor)
            if contract is not None and contract.access == options_pb2.ACCESS_TOKEN:
                yield Method(contract, descriptor)
