"""Signed bundles of a test's own, in the store that every service decides by."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from soma.policy.v1 import resources_pb2 as pb

from mesh.policy import BundleStore, Decisions, Effect, Rule
from mesh.policy.rules import rule_message
from mesh.policy.signature import Signer, Verifier
from mesh.runtime.clock import SystemClock

ALLOW_ALL = Rule(id="allow-all", effect=Effect.ALLOW, actions=("*",))


class SignedPolicy:
    """Signs rules with a key of its own and puts them in force."""

    def __init__(self, folder: Path) -> None:
        public = folder / "test-bundle.pub"
        self._signer = Signer.open(folder / "test-bundle.key", public)
        self._clock = SystemClock()
        self._version = 0
        self.store = BundleStore(verifier=lambda: Verifier.read(public), clock=self._clock)
        self.decisions = Decisions(self.store)

    def put(self, *rules: Rule, seconds: float = 3600) -> int:
        """Put rules in force for a time; give their version."""
        self._version += 1
        bundle = pb.Bundle(version=self._version, rules=map(rule_message, rules))
        bundle.issue_time.FromDatetime(self._clock.now())
        bundle.expire_time.FromDatetime(self._clock.now() + timedelta(seconds=seconds))
        self.store.accept(self._signer.sign(bundle.SerializeToString()))
        return self._version
