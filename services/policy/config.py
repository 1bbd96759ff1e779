"""Settings of the policy service."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from mesh.runtime.settings import ProcessSettings


class Settings(ProcessSettings):
    """What the policy service is told."""

    policy_signing_key: Path | None = Field(
        default=None,
        description="PEM of the Ed25519 key that signs bundles; made at the first start. "
        "`secrets/bundle-signing.key` beside the folder of SOMA_PKI_DIR's workloads by default.",
    )
    policy_public_key: Path | None = Field(
        default=None, description="Where its public part is written; beside SOMA_PKI_DIR by default."
    )
    policy_valid_seconds: float = Field(
        default=600, gt=0, description="How long a signature holds: after it a service cut off refuses."
    )
    policy_sign_every_seconds: float = Field(
        default=120, gt=0, description="How often the bundle in force is signed afresh."
    )
    policy_heartbeat_seconds: float = Field(
        default=10, gt=0, le=10, description="Longest silence on a stream of bundles."
    )

    @model_validator(mode="after")
    def _signed_in_time(self) -> Self:
        if self.policy_sign_every_seconds * 2 > self.policy_valid_seconds:
            raise ValueError("a signature must hold for at least two periods of signing")
        return self

    @property
    def signing_key_file(self) -> Path:
        """Where the private key stands."""
        return self.policy_signing_key or self.pki_dir.parent.parent / "secrets" / "bundle-signing.key"

    @property
    def public_key_file(self) -> Path:
        """Where the public key stands."""
        return self.policy_public_key or self.pki_dir.parent / "bundle-signing.pub"
