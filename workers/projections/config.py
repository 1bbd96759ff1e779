"""Settings of the projections worker."""

from pydantic import Field

from mesh.runtime.settings import ProcessSettings


class Settings(ProcessSettings):
    """What the projections worker is told."""

    projections_audit_batch: int = Field(
        default=200, ge=1, le=500, description="Most audit records of one tenant in one call."
    )
    projections_audit_in_flight: int = Field(
        default=512, ge=1, le=10_000, description="Most audit records worked on at once."
    )
    projections_memory_in_flight: int = Field(
        default=8, ge=1, le=1_000, description="Most turns remembered at once; each costs an embedding."
    )
    projections_attempts: int = Field(
        default=5, ge=1, le=100, description="Failures after which a record goes to the dead letters."
    )
