"""Settings of the gateway."""

from __future__ import annotations

from pydantic import Field

from mesh.runtime.settings import ProcessSettings


class Settings(ProcessSettings):
    """What the gateway is told."""

    rate_limit_per_second: int = Field(
        default=1000, ge=1, le=1_000_000, description="Requests that a tenant may send each second."
    )
    public_rate_limit_per_second: int = Field(
        default=200, ge=1, le=1_000_000, description="The same for requests without a token, by address."
    )
    max_message_bytes: int = Field(default=20 * 1024 * 1024, ge=1024)
