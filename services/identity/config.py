"""Settings of identity."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mesh.runtime.errors import ConfigurationError
from mesh.runtime.settings import ProcessSettings

_KEY_FILE: Final = "identity-key-encryption"


class TokenSettings(BaseSettings):
    """What whoever signs tokens is told."""

    model_config = SettingsConfigDict(env_prefix="SOMA_", extra="ignore", frozen=True)

    identity_key_file: Path | None = Field(
        default=None,
        description="The key that seals private signing keys: 64 hexadecimal digits, mode 0600; "
        "by default a file of $SOMA_HOME/secrets, made at the first start.",
    )
    identity_access_minutes: int = Field(default=15, ge=1, le=60, description="Life of an access token.")
    identity_refresh_days: int = Field(default=30, ge=1, le=365, description="Life of a refresh token.")
    identity_signing_days: int = Field(default=30, ge=1, le=365, description="How long a key signs.")
    identity_key_lead_seconds: int = Field(
        default=60, ge=0, le=3600, description="How long a new key is announced before it signs."
    )

    def key_file(self) -> tuple[Path, bool]:
        """Return the file of the sealing key, and whether it may be made.

        Raises:
            ConfigurationError: neither the setting nor $SOMA_HOME names a place.
        """
        if self.identity_key_file is not None:
            return self.identity_key_file, False
        home = os.environ.get("SOMA_HOME")
        if not home:
            raise ConfigurationError("set SOMA_IDENTITY_KEY_FILE or SOMA_HOME: where the sealing key lies")
        return Path(home) / "secrets" / _KEY_FILE, True


class Settings(ProcessSettings, TokenSettings):
    """What the process is told."""

    identity_failures_by_user: int = Field(default=10, ge=1, description="Failed sign-ins in a window.")
    identity_failures_by_address: int = Field(default=100, ge=1, description="The same for an address.")
    identity_failure_window_seconds: int = Field(default=900, ge=1, description="The window.")
