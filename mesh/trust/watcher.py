"""Follows the identity service: one stream, made anew whenever it breaks or falls silent."""

from __future__ import annotations

from typing import Final

import grpc.aio
from soma.identity.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.following import Following
from mesh.runtime.logging import get_logger
from mesh.trust.state import TrustState

SILENCE_SECONDS: Final = 12.0
"""More than two heartbeats: then the stream is taken for dead."""
_log = get_logger(__name__)


class TrustWatcher:
    """Keeps a state in step with the identity service; `run` never returns."""

    def __init__(self, channel: grpc.aio.Channel, state: TrustState) -> None:
        """Take a channel to the identity service."""
        self._trust = service_pb2_grpc.TrustStub(channel)
        self._state = state
        self._following = Following(name="trust", silence_seconds=SILENCE_SECONDS)

    async def run(self) -> None:
        """Follow the stream until the task is cancelled."""
        await self._following.run(
            lambda: self._trust.WatchTrust(service_pb2.WatchTrustRequest()),
            service_pb2.WatchTrustResponse,
            self._take,
        )

    def _take(self, answer: service_pb2.WatchTrustResponse) -> None:
        before = self._state.generation
        self._state.accept(answer)
        self._following.well()
        if self._state.generation != before:
            _log.info("verification keys changed", keys=sorted(self._state.keys))
