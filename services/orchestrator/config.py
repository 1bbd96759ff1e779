"""Settings of the orchestrator."""

from pathlib import Path

from pydantic import Field

from mesh.runtime.settings import ProcessSettings


class Settings(ProcessSettings):
    """What the orchestrator is told."""

    lib: Path | None = Field(
        default=None, description="Where the built models lie; their tokenizers count prompts."
    )
    waiting_per_slot: int = Field(
        default=8, ge=1, description="Turns that may wait for each slot of a model."
    )
    turn_seconds: float = Field(
        default=600.0, gt=0, description="How long a turn may wait for its model before it fails."
    )
    ping_seconds: float = Field(default=15.0, gt=0, description="Silence before a ping.")
    recall_seconds: float = Field(default=3.0, gt=0, description="Bound on recalling.")
    most_streams: int = Field(default=8192, ge=1, description="Streams read at once.")
    # An open stream is a call in progress; beside the streams there is room for the other calls.
    max_concurrent_calls: int = Field(default=12_288, ge=1)
    # A commit waits for the disk, so there are more under way than a core could work on.
    pool_size: int = Field(default=32, ge=2, description="Connections to Postgres.")
    intake_at_once: int = Field(
        default=16, ge=1, description="Turns taken in at once; fewer than the connections to Postgres."
    )
    passages: int = Field(default=6, ge=1, le=32, description="Passages retrieved for a turn.")
    passages_read: int = Field(
        default=3, ge=1, le=32, description="Passages put before a model that reads them all to begin."
    )
    memories: int = Field(default=3, ge=0, le=32, description="Memories recalled for a turn.")
    history_turns: int = Field(default=20, ge=0, le=200, description="Earlier turns looked at.")

    @property
    def model_repository(self) -> Path | None:
        """Where the profiles and tokenizers of the built models lie."""
        return None if self.lib is None else self.lib / "models" / "current" / "repository"
