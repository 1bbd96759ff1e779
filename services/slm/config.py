"""Settings of slm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import Field

from mesh.runtime.errors import ConfigurationError
from mesh.runtime.settings import ProcessSettings

_KEY_FILE: Final = "slm-key-encryption"


class Settings(ProcessSettings):
    """What slm is told."""

    models_dir: Path | None = Field(
        default=None, description="What was built for Triton; by default $SOMA_LIB/models/current."
    )
    slm_key_file: Path | None = Field(
        default=None,
        description="The key that seals providers' keys: 64 hexadecimal digits, mode 0600; "
        "by default a file of $SOMA_HOME/secrets, made at the first start.",
    )
    provider_loopback: bool = Field(default=False, description="Providers on this machine, by http.")
    provider_private: bool = Field(default=False, description="Providers in private networks.")

    def models(self) -> Path | None:
        """Return the folder of the built models; None where there is none."""
        lib = os.environ.get("SOMA_LIB")
        found = self.models_dir or (Path(lib) / "models" / "current" if lib else None)
        return found if found is not None and (found / "repository").is_dir() else None

    def key_file(self) -> tuple[Path, bool]:
        """Return the file of the sealing key, and whether it may be made.

        Raises:
            ConfigurationError: neither the setting nor $SOMA_HOME names a place.
        """
        if self.slm_key_file is not None:
            return self.slm_key_file, False
        home = os.environ.get("SOMA_HOME")
        if not home:
            raise ConfigurationError("set SOMA_SLM_KEY_FILE or SOMA_HOME: where the sealing key lies")
        return Path(home) / "secrets" / _KEY_FILE, True
