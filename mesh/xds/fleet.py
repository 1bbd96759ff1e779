"""Calls to `soma.mesh.v1.Introspection` of every process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc.aio
from google.protobuf import duration_pb2
from soma.mesh.v1 import resources_pb2, service_pb2, service_pb2_grpc

from mesh.runtime.channels import MeshChannel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from mesh.runtime.certificates import Certificates
    from mesh.xds.members import Member

_ANSWER_SECONDS = 2.0
_TAP_QUEUE = 1024
_TAP_RETRY_SECONDS = 1.0


class Fleet:
    """The processes of the mesh, reached one by one."""

    def __init__(
        self,
        *,
        members: Callable[[], Iterable[Member]],
        certificates: Certificates,
        max_message_bytes: int,
    ) -> None:
        self._members = members
        self._certificates = certificates
        self._max_message_bytes = max_message_bytes
        self._channels: dict[Member, MeshChannel] = {}

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def statuses(self) -> list[resources_pb2.ProcessStatus]:
        """Ask every process; one that does not answer is told as unreachable."""
        return list(await asyncio.gather(*(self.status(member) for member in self._members())))

    async def status(self, member: Member) -> resources_pb2.ProcessStatus:
        """Ask one process."""
        try:
            answer = await self._stub(member).GetStats(service_pb2.GetStatsRequest(), timeout=_ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            return resources_pb2.ProcessStatus(
                process=member.process,
                workload=member.service,
                version=member.version,
                address=str(member.address),
                message=f"{error.code().name}: {error.details()}",
            )
        return answer.process

    async def drain(self, member: Member, grace: duration_pb2.Duration | None) -> int:
        """Tell a process to drain; give the number of its calls at that moment."""
        answer = await self._stub(member).Drain(
            service_pb2.DrainRequest(grace=grace), timeout=_ANSWER_SECONDS
        )
        return answer.in_flight

    async def tap(
        self, processes: Iterable[str], method_prefix: str
    ) -> AsyncIterator[resources_pb2.TapRecord]:
        """Merge the live calls of processes; a process that restarts is tapped again."""
        wanted = set(processes)
        members = [m for m in self._members() if not wanted or m.process in wanted]
        queue: asyncio.Queue[resources_pb2.TapRecord] = asyncio.Queue(_TAP_QUEUE)
        tasks = [asyncio.create_task(self._tap_one(m, method_prefix, queue)) for m in members]
        try:
            while True:
                yield await queue.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _tap_one(
        self, member: Member, prefix: str, queue: asyncio.Queue[resources_pb2.TapRecord]
    ) -> None:
        request = service_pb2.TapCallsRequest(method_prefix=prefix)
        while True:
            try:
                async for record in self._stub(member).TapCalls(request):
                    await queue.put(record)
            except grpc.aio.AioRpcError:
                # It is away; what people see is that its calls are missing until it is back.
                await asyncio.sleep(_TAP_RETRY_SECONDS)

    def _stub(self, member: Member) -> service_pb2_grpc.IntrospectionAsyncStub:
        channel = self._channels.get(member)
        if channel is None:
            channel = self._channels[member] = MeshChannel(
                target=f"ipv4:{member.address}",
                workload=member.service,
                certificates=self._certificates,
                max_message_bytes=self._max_message_bytes,
            )
        return service_pb2_grpc.IntrospectionStub(channel)
