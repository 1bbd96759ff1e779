"""What a process knows of keys and revocations, and how old that knowledge is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from soma.identity.v1 import resources_pb2, service_pb2

from mesh.runtime.errors import Unavailable

STALE_SECONDS: Final = 30.0
"""Six heartbeats of the identity service."""
_PRUNE_EVERY: Final = 1024


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and the moment (Unix seconds) after which nothing signed by it is accepted."""

    kid: str
    key: ECKey
    expires_at: float


class TrustState:
    """Keys by id and revocations by token id; changed by `accept` alone."""

    def __init__(
        self,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        """Start with nothing, which refuses everything. `wall` gives Unix seconds."""
        self.wall = wall
        self.keys: dict[str, TrustedKey] = {}
        self.revoked: dict[str, float] = {}
        """Token id to the moment at which the token would have ended."""
        self.generation = 0
        """Grows whenever the set of keys changes."""
        self.version = 0
        self._monotonic = monotonic
        self._stale_seconds = stale_seconds
        self._fresh_until = float("-inf")
        self._known: tuple[bytes, ...] = ()
        self._accepted = 0

    def accept(self, message: service_pb2.WatchTrustResponse) -> None:
        """Take one message of the stream: all keys, and new or all revocations.

        Raises:
            ValueError: a key is no public P-256 key; nothing of the message is taken.
        """
        self._take_keys(message)
        if message.reset:
            self.revoked = dict(_revocations(message))
        else:
            self.revoked.update(_revocations(message))
        self.version = max(self.version, message.version)
        self._accepted += 1
        if self._accepted % _PRUNE_EVERY == 0:
            now = self.wall()
            self.revoked = {token: end for token, end in self.revoked.items() if end > now}
        self._fresh_until = self._monotonic() + self._stale_seconds

    def require_fresh(self) -> None:
        """Return while what is known may be relied on.

        Raises:
            Unavailable: no keys have come yet, or nothing has come for too long.
        """
        if self._monotonic() > self._fresh_until:
            cause = "are too old" if self.keys else "have not arrived yet"
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE", f"the keys that verify tokens {cause}; try again", retry_after=1.0
            )

    async def ready(self) -> None:
        """Raise while tokens cannot be verified (for `Process.ready_when`)."""
        self.require_fresh()

    def _take_keys(self, message: service_pb2.WatchTrustResponse) -> None:
        sent = tuple(key.SerializeToString(deterministic=True) for key in message.keys)
        if sent == self._known:
            return
        keys = {key.id: read_key(key) for key in message.keys}
        self.keys, self._known = keys, sent
        self.generation += 1


def read_key(sent: resources_pb2.VerificationKey) -> TrustedKey:
    """Read a public key.

    Raises:
        ValueError: it is no public key on the curve P-256.
    """
    try:
        key = ECKey.import_key(json.loads(sent.jwk))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"key {sent.id!r} is no JSON Web Key") from error
    if key.is_private or key.curve_name != "P-256":
        raise ValueError(f"key {sent.id!r} is no public P-256 key")
    return TrustedKey(sent.id, key, _seconds(sent.expire_time))


def _revocations(message: service_pb2.WatchTrustResponse) -> Iterator[tuple[str, float]]:
    return ((each.token_id, _seconds(each.expire_time)) for each in message.revocations)


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9
