"""How a process takes part: a watcher as its own task, ready only with a bundle in force.

Every method with a token is decided from then on (`mesh.runtime.interceptors.policy`).
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mesh.policy.decisions import Decisions
from mesh.policy.signature import Verifier
from mesh.policy.store import BundleStore
from mesh.policy.watcher import PolicyWatcher
from mesh.runtime.clock import SystemClock
from mesh.runtime.process import Process


class PolicySettings(BaseSettings):
    """What a process is told about the policy; all of it has a default."""

    model_config = SettingsConfigDict(env_prefix="SOMA_POLICY_", extra="ignore", frozen=True)

    public_key: Path | None = Field(
        default=None, description="PEM of the key that signs bundles; beside SOMA_PKI_DIR by default."
    )

    def public_key_file(self, pki_dir: Path) -> Path:
        """Say where the public key stands."""
        return self.public_key or pki_dir.parent / "bundle-signing.pub"


def join_policy(process: Process) -> Decisions:
    """Follow the policy service for the life of the process and decide its calls; give what handlers ask.

    The process is ready only while a valid bundle is in force.

    Raises:
        ConfigurationError: SOMA_PEERS does not name the policy service.
    """
    public_key = PolicySettings().public_key_file(process.settings.pki_dir)
    store = BundleStore(verifier=lambda: Verifier.read(public_key), clock=SystemClock())
    process.own(PolicyWatcher(process.channel("policy"), store).run(), name="policy")
    process.ready_when("policy", store.ready)
    decisions = Decisions(store)
    process.decide_with(decisions)
    return decisions
