"""Follows the policy service: one stream of bundles, made anew whenever it breaks or falls silent."""

import asyncio
import random
from typing import Final

import grpc
import grpc.aio
from soma.policy.v1 import service_pb2, service_pb2_grpc

from mesh.policy.errors import BundleRefusedError
from mesh.policy.store import BundleStore
from mesh.runtime.logging import get_logger

SILENCE_SECONDS: Final = 30.0
"""Three heartbeats of the policy service."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_log = get_logger(__name__)


class PolicyWatcher:
    """Keeps a store in step with the policy service; `run` never returns."""

    def __init__(self, channel: grpc.aio.Channel, store: BundleStore) -> None:
        """Take a channel to the policy service."""
        self._bundles = service_pb2_grpc.BundlesStub(channel)
        self._store = store
        self._pause = _FIRST_PAUSE
        self._told: str | None = None

    async def run(self) -> None:
        """Follow the stream until the task is cancelled."""
        while True:
            try:
                await self._follow()
                cause = "the policy service ended the stream"
            except grpc.aio.AioRpcError as error:
                cause = f"{error.code().name}: {error.details()}"
            except TimeoutError:
                cause = f"nothing came for {SILENCE_SECONDS:.0f} s"
            if cause != self._told:
                _log.warning("policy stream broken", cause=cause)
                self._told = cause
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _follow(self) -> None:
        call = self._bundles.WatchBundle(service_pb2.WatchBundleRequest())
        try:
            while True:
                answer = await asyncio.wait_for(call.read(), SILENCE_SECONDS)
                if not isinstance(answer, service_pb2.WatchBundleResponse):
                    return
                if answer.HasField("signed_bundle"):
                    self._take(answer)
        finally:
            call.cancel()

    def _take(self, answer: service_pb2.WatchBundleResponse) -> None:
        try:
            changed = self._store.accept(answer.signed_bundle)
        except BundleRefusedError as error:
            _log.error("policy bundle refused", cause=error.cause)
            return
        self._pause, self._told = _FIRST_PAUSE, None
        if changed and self._store.bundle is not None:
            bundle = self._store.bundle
            _log.info("policy in force", version=bundle.version, rules=len(bundle.rules))
