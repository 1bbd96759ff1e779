"""The bundle in force, and the reasons for which a new one does not become it.

Accepts a bundle that is signed by a known key, fresh, understood, and not older than the one in force; serves
its engine until it expires. Without one it refuses, and so does everybody who asks it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from soma.policy.v1 import resources_pb2 as pb

from mesh.policy.engine import Engine
from mesh.policy.errors import BundleRefusedError
from mesh.policy.rules import Bundle, parse_bundle
from mesh.policy.signature import Verifier
from mesh.runtime.clock import Clock
from mesh.runtime.errors import Unavailable

SKEW: Final = timedelta(seconds=60)
"""How far two machines' clocks may differ."""
_RETRY_SECONDS: Final = 1.0


class BundleStore:
    """Holds the engine of the bundle in force."""

    def __init__(self, *, verifier: Callable[[], Verifier], clock: Clock) -> None:
        """`verifier` reads the public keys; it is asked for every bundle, so that keys can be changed."""
        self._verifier = verifier
        self._clock = clock
        self._bundle: Bundle | None = None
        self._engine: Engine | None = None
        self._expire_time: datetime | None = None

    @property
    def bundle(self) -> Bundle | None:
        """The bundle in force, whether or not it expired since."""
        return self._bundle

    def accept(self, signed: pb.SignedBundle) -> bool:
        """Take a bundle; True where its rules differ from those in force.

        Raises:
            BundleRefusedError: it may not be used; what was in force stays so.
        """
        bundle = parse_bundle(self._verifier().verify(signed))
        now = self._clock.now()
        if bundle.expire_time <= now:
            raise BundleRefusedError(f"it expired at {bundle.expire_time.isoformat()}")
        if bundle.issue_time > now + SKEW:
            raise BundleRefusedError(f"it was issued in the future, at {bundle.issue_time.isoformat()}")
        present = self._bundle
        fresh = present is None or bundle.version > present.version
        if present is not None and not fresh:
            _refuse_step_back(present, bundle)
        if fresh:
            self._engine = Engine(bundle)
        if fresh or present is None or bundle.expire_time > present.expire_time:
            self._bundle, self._expire_time = bundle, bundle.expire_time
        return fresh

    def engine(self) -> Engine:
        """Give the engine in force.

        Raises:
            Unavailable: there is no bundle, or it expired (POLICY_UNAVAILABLE).
        """
        if self._engine is None or self._expire_time is None:
            raise _unavailable("no valid policy bundle is loaded")
        if self._clock.now() >= self._expire_time:
            raise _unavailable(f"the policy bundle expired at {self._expire_time.isoformat()}")
        return self._engine

    async def ready(self) -> None:
        """Raise while there is no bundle in force; for `process.ready_when`."""
        self.engine()


def _refuse_step_back(present: Bundle, bundle: Bundle) -> None:
    if bundle.version < present.version:
        raise BundleRefusedError(
            f"version {bundle.version} is older than {present.version}, which is in force"
        )
    if bundle.rules != present.rules:
        raise BundleRefusedError(f"version {bundle.version} is in force with other rules")


def _unavailable(message: str) -> Unavailable:
    return Unavailable("POLICY_UNAVAILABLE", message, retry_after=_RETRY_SECONDS)
