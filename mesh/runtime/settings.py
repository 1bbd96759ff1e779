"""The settings of a process: environment variables `SOMA_*`, set by the launcher or the chart.

A service subclasses `ProcessSettings` in its `config.py`. Only `wiring.py` and
`__main__.py` read settings. Values that hold a password are never printed.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mesh.runtime.authorization import DEFAULT_FILE

Workload = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Address = Annotated[str, Field(pattern=r"^[^\s:]+:\d{1,5}$")]


class ProcessSettings(BaseSettings):
    """What every process is told."""

    model_config = SettingsConfigDict(env_prefix="SOMA_", extra="ignore", frozen=True)

    process: str = Field(default="", description="The name in `soma status`.")
    workload: Workload = Field(description="The workload of the certificate.")
    listen: Address = Field(description="host:port of the mTLS gRPC server.")
    metrics_listen: Address | None = Field(
        default=None, description="host:port of /metrics, /healthz and /readyz (loopback)."
    )
    pki_dir: Path = Field(description="Folder with cert.pem, key.pem and ca.pem.")

    postgres_url: str = Field(default="", repr=False)
    redis_url: str = Field(default="", repr=False)
    kafka_bootstrap: str = ""
    triton_url: str = ""
    triton_http_url: str = ""
    qdrant_url: str = ""
    temporal_address: str = ""
    peers: dict[str, str] = Field(default_factory=dict, description="Workload to gRPC target.")
    peers_file: Path | None = Field(default=None, description="The same as JSON, replaced as they move.")

    otlp_endpoint: str = Field(default="", description="An OpenTelemetry collector (gRPC).")
    trace_ratio: float = Field(default=0.01, ge=0.0, le=1.0, description="Share of traces kept.")
    version_label: Literal["stable", "canary"] = "stable"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    start_seconds: float = Field(default=60.0, gt=0, description="Bound on waiting at start.")
    drain_seconds: float = Field(default=5.0, ge=0, description="Bound on calls in flight at stop.")
    stream_grace_seconds: float = Field(default=2.0, ge=0, description="The same for streams.")
    handover_seconds: float = Field(default=30.0, ge=0, description="Bound on both after a successor came.")
    authorization_file: Path = Field(default=DEFAULT_FILE, description="The mesh policy.")
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    max_concurrent_calls: int = Field(default=4096, ge=1)

    @property
    def name(self) -> str:
        """The name of the process: SOMA_PROCESS, or the workload's."""
        return self.process or self.workload

    @classmethod
    def from_environment(cls) -> Self:
        """Read the settings.

        Raises:
            pydantic.ValidationError: a variable is missing or malformed.
        """
        return cls()  # type: ignore[call-arg]  # the environment gives the rest
