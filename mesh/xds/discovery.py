"""ADS over gRPC: carries dialogues, knows nothing of what they say.

Envoy's own messages come from envoy-data-plane (betterproto), which generates servers for grpclib
only; so the handlers are registered here by hand, under Envoy's method names.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, DiscoveryRequest

from mesh.runtime.logging import get_logger
from mesh.xds.dialogue import Dialogue, Incremental, StateOfTheWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mesh.xds.current import Current
    from mesh.xds.registry import Proxy, Registry

_log = get_logger(__name__)
SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
Request = TypeVar("Request", DiscoveryRequest, DeltaDiscoveryRequest)
_CHANGED: Final = object()
_END: Final = object()


class Discovery:
    """The aggregated discovery service."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry

    async def StreamAggregatedResources(
        self, requests: AsyncIterator[DiscoveryRequest], context: Any
    ) -> AsyncIterator[Any]:
        """Talk state of the world."""
        async for response in self._talk(requests, StateOfTheWorld):
            yield response

    async def DeltaAggregatedResources(
        self, requests: AsyncIterator[DeltaDiscoveryRequest], context: Any
    ) -> AsyncIterator[Any]:
        """Talk increments."""
        async for response in self._talk(requests, Incremental):
            yield response

    async def _talk(
        self, requests: AsyncIterator[Request], dialect: Callable[[Proxy], Dialogue[Request, Any]]
    ) -> AsyncIterator[Any]:
        first = await anext(requests, None)
        if first is None:
            return
        proxy = self._opened(first)
        dialogue = dialect(proxy)
        inbox: asyncio.Queue[Any] = asyncio.Queue(maxsize=64)
        world = self._current.world
        tasks = [
            asyncio.create_task(_read(requests, inbox)),
            asyncio.create_task(self._watch(inbox)),
        ]
        try:
            for response in dialogue.answer(first, world):
                yield response
            while (event := await inbox.get()) is not _END:
                if event is _CHANGED:
                    world = self._current.world
                    responses = dialogue.changed(world)
                else:
                    self._log_refusal(proxy, event)
                    responses = dialogue.answer(event, world)
                for response in responses:
                    yield response
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._registry.closed(proxy)
            _log.info("proxy left", proxy=proxy.id, held=proxy.summary())

    async def _watch(self, inbox: asyncio.Queue[Any]) -> None:
        world = self._current.world
        while True:
            world = await self._current.changed_from(world)
            await inbox.put(_CHANGED)

    def _opened(self, first: DiscoveryRequest | DeltaDiscoveryRequest) -> Proxy:
        node = first.node
        name = node.id if node is not None and node.id else "unnamed"
        build = node.user_agent_build_version if node is not None else None
        number = build.version if build is not None else None
        version = f"{number.major_number}.{number.minor_number}.{number.patch}" if number else ""
        proxy = self._registry.opened(
            id=name, cluster=node.cluster if node is not None else "", version=version
        )
        _log.info("proxy connected", proxy=name, version=version)
        return proxy

    def _log_refusal(self, proxy: Proxy, request: DiscoveryRequest | DeltaDiscoveryRequest) -> None:
        if request.error_detail is not None:
            _log.error(
                "proxy refused",
                proxy=proxy.id,
                type=request.type_url,
                cause=request.error_detail.message,
            )


async def _read(requests: AsyncIterator[Any], inbox: asyncio.Queue[Any]) -> None:
    try:
        async for request in requests:
            await inbox.put(request)
    finally:
        await inbox.put(_END)


def register(servicer: Discovery, server: Any) -> None:
    """Do what a generated `add_..._to_server` does."""
    handlers = {
        "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(
            servicer.StreamAggregatedResources, DiscoveryRequest.FromString, bytes
        ),
        "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(
            servicer.DeltaAggregatedResources, DeltaDiscoveryRequest.FromString, bytes
        ),
    }
    server.add_registered_method_handlers(SERVICE, handlers)
