"""Follows the policy service: one stream of bundles, made anew whenever it breaks or falls silent."""

from typing import Final

import grpc.aio
from soma.policy.v1 import service_pb2, service_pb2_grpc

from mesh.policy.errors import BundleRefusedError
from mesh.policy.store import BundleStore
from mesh.runtime.following import Following
from mesh.runtime.logging import get_logger

SILENCE_SECONDS: Final = 30.0
"""Three heartbeats of the policy service."""
_log = get_logger(__name__)


class PolicyWatcher:
    """Keeps a store in step with the policy service; `run` never returns."""

    def __init__(self, channel: grpc.aio.Channel, store: BundleStore) -> None:
        """Take a channel to the policy service."""
        self._bundles = service_pb2_grpc.BundlesStub(channel)
        self._store = store
        self._following = Following(name="policy", silence_seconds=SILENCE_SECONDS)

    async def run(self) -> None:
        """Follow the stream until the task is cancelled."""
        await self._following.run(
            lambda: self._bundles.WatchBundle(service_pb2.WatchBundleRequest()),
            service_pb2.WatchBundleResponse,
            self._take,
        )

    def _take(self, answer: service_pb2.WatchBundleResponse) -> None:
        if not answer.HasField("signed_bundle"):
            return  # a heartbeat
        try:
            changed = self._store.accept(answer.signed_bundle)
        except BundleRefusedError as error:
            _log.error("policy bundle refused", cause=error.cause)
            return
        self._following.well()
        if changed and self._store.bundle is not None:
            bundle = self._store.bundle
            _log.info("policy in force", version=bundle.version, rules=len(bundle.rules))
