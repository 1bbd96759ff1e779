"""Settings of the slm worker."""

from pydantic import Field

from mesh.runtime.settings import ProcessSettings


class Settings(ProcessSettings):
    """What the worker is told."""

    interval_ms: int = Field(default=30, ge=0, le=1000, description="How long text is gathered.")
    busy_interval_ms: int = Field(default=100, ge=0, le=1000, description="The same under load.")
    spare_turns: int = Field(
        default=2, ge=0, description="Turns taken beyond a model's slots, so that no slot waits."
    )
    patience_seconds: float = Field(
        default=30.0, gt=0, description="How long a model may be away before its turns fail."
    )
    generation_seconds: float = Field(default=600.0, gt=0, description="Bound on one answer.")
    finish_seconds: float = Field(
        default=1.0, ge=0, description="At stop: how long turns may end before they are handed over."
    )
    provider_loopback: bool = Field(default=False, description="Providers on this machine, by http.")
    provider_private: bool = Field(default=False, description="Providers in private networks.")
