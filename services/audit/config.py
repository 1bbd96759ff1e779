"""Settings of the audit service."""

from pydantic import Field

from mesh.runtime.settings import ProcessSettings


class Settings(ProcessSettings):
    """What the audit service is told."""

    audit_connections: int = Field(default=8, ge=2, le=64, description="Most connections to Postgres.")
    audit_verify_batch: int = Field(
        default=1000, ge=1, le=10_000, description="Records held in memory while a chain is verified."
    )
