"""Revoked tokens, as identity streams them, until they would have expired anyway.

Bounded: the edge is told the newest; every service knows them all and refuses the rest. Without
identity the last known list stays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc.aio
from soma.identity.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from soma.identity.v1 import resources_pb2

_log = get_logger(__name__)
_RETRY_SECONDS = 1.0
_PRUNE_SECONDS = 60.0


class Revocations:
    """Token ids with the time at which each stops mattering."""

    def __init__(self, *, bound: int) -> None:
        self._bound = bound
        self._until: dict[str, float] = {}

    def ids(self) -> tuple[str, ...]:
        """The ids to deny, in a stable order."""
        return tuple(sorted(self._until))

    def take(self, revocations: Iterable[resources_pb2.Revocation], *, reset: bool) -> bool:
        """Take what identity sent; tell whether anything changed."""
        before = dict(self._until)
        if reset:
            self._until = {}
        for one in revocations:
            # Newest last: what is beyond the bound goes first.
            self._until.pop(one.token_id, None)
            self._until[one.token_id] = one.expire_time.seconds
        for surplus in list(self._until)[: max(0, len(self._until) - self._bound)]:
            del self._until[surplus]
        return self._until != before

    def prune(self, *, now: float) -> bool:
        """Forget tokens that expired; tell whether there were any."""
        expired = [token for token, until in self._until.items() if 0 < until < now]
        for token in expired:
            del self._until[token]
        return bool(expired)


async def follow(revocations: Revocations, channel: grpc.aio.Channel, changed: Callable[[], None]) -> None:
    """Follow identity for ever; it being away is no reason to stop."""
    trust = service_pb2_grpc.TrustStub(channel)
    said = False
    while True:
        try:
            async for update in trust.WatchTrust(service_pb2.WatchTrustRequest()):
                said = False
                if revocations.take(update.revocations, reset=update.reset):
                    changed()
        except grpc.aio.AioRpcError as error:
            if not said:
                _log.warning("identity does not answer; revocations stay as they are", cause=error.details())
            said = True
        await asyncio.sleep(_RETRY_SECONDS)


async def prune_for_ever(
    revocations: Revocations, clock: Callable[[], float], changed: Callable[[], None]
) -> None:
    """Forget expired tokens now and then."""
    while True:
        await asyncio.sleep(_PRUNE_SECONDS)
        if revocations.prune(now=clock()):
            changed()
