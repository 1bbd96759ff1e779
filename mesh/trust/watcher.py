"""Follows the identity service: one stream, made anew whenever it breaks or falls silent."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import grpc
import grpc.aio
from soma.identity.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.logging import get_logger
from mesh.trust.state import TrustState

SILENCE_SECONDS: Final = 12.0
"""More than two heartbeats: then the stream is taken for dead."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_log = get_logger(__name__)


class TrustWatcher:
    """Keeps a state in step with the identity service; `run` never returns."""

    def __init__(self, channel: grpc.aio.Channel, state: TrustState) -> None:
        """Take a channel to the identity service."""
        self._trust = service_pb2_grpc.TrustStub(channel)
        self._state = state
        self._pause = _FIRST_PAUSE
        self._told: str | None = None

    async def run(self) -> None:
        """Follow the stream until the task is cancelled."""
        while True:
            try:
                await self._follow()
                cause = "the identity service ended the stream"
            except grpc.aio.AioRpcError as error:
                cause = f"{error.code().name}: {error.details()}"
            except TimeoutError:
                cause = f"nothing came for {SILENCE_SECONDS:.0f} s"
            except ValueError as error:
                cause = f"refused: {error}"
            if cause != self._told:
                _log.warning("trust stream broken", cause=cause)
                self._told = cause
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _follow(self) -> None:
        call = self._trust.WatchTrust(service_pb2.WatchTrustRequest())
        try:
            while True:
                answer = await asyncio.wait_for(call.read(), SILENCE_SECONDS)
                if not isinstance(answer, service_pb2.WatchTrustResponse):
                    return
                self._take(answer)
        finally:
            call.cancel()

    def _take(self, answer: service_pb2.WatchTrustResponse) -> None:
        before = self._state.generation
        self._state.accept(answer)
        self._pause, self._told = _FIRST_PAUSE, None
        if self._state.generation != before:
            _log.info("verification keys changed", keys=sorted(self._state.keys))
