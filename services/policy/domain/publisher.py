"""The bundle in force, signed: told to whoever waits for it."""

import asyncio
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from soma.policy.v1 import resources_pb2 as pb

from mesh.policy import BundleStore
from mesh.policy.rules import rule_message
from mesh.policy.signature import Signer
from mesh.runtime.clock import Clock
from services.policy.domain.rule_set import RuleSet
from services.policy.errors import RuleSetRefusedError


class Publisher:
    """Signs rule sets. What it tells others it takes itself first, by the same checks as they do."""

    def __init__(self, *, signer: Signer, store: BundleStore, clock: Clock, valid: timedelta) -> None:
        """Take the key, this process's own store, the time, and how long a signature holds."""
        self._signer = signer
        self._store = store
        self._clock = clock
        self._valid = valid
        self._published = asyncio.Condition()
        self._serial = 0
        self._signed: pb.SignedBundle | None = None

    @property
    def version(self) -> int:
        """The version in force; 0 before the first."""
        return self._store.bundle.version if self._store.bundle else 0

    async def publish(self, rule_set: RuleSet) -> None:
        """Sign the rule set now and tell everybody who waits.

        Raises:
            RuleSetRefusedError: its version is older than the one in force.
            BundleRefusedError: it would be refused by every service.
        """
        if rule_set.version < self.version:
            raise RuleSetRefusedError(f"version {rule_set.version} is stored, {self.version} is in force")
        signed = self._signer.sign(self._bundle(rule_set))
        self._store.accept(signed)
        async with self._published:
            self._signed = signed
            self._serial += 1
            self._published.notify_all()

    async def next(self, after: int, *, within: float) -> tuple[int, pb.SignedBundle | None]:
        """Give what was published after a serial number; nothing (and that number) if nothing was in time."""
        async with self._published:
            try:
                async with asyncio.timeout(within):
                    await self._published.wait_for(lambda: self._serial > after)
            except TimeoutError:
                return after, None
            return self._serial, self._signed

    def _bundle(self, rule_set: RuleSet) -> bytes:
        now = self._clock.now()
        issued, expires = Timestamp(), Timestamp()
        issued.FromDatetime(now)
        expires.FromDatetime(now + self._valid)
        return pb.Bundle(
            version=rule_set.version,
            rules=map(rule_message, rule_set.rules),
            issue_time=issued,
            expire_time=expires,
        ).SerializeToString(deterministic=True)
