"""Settings of the control plane, beyond those of every process."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from pydantic import Field

from mesh.envoy.snapshot import Address, EdgeSettings
from mesh.runtime.settings import ProcessSettings

_DESCRIPTORS = Path(__file__).resolve().parents[2] / "gen" / "descriptors" / "soma.binpb"


class Settings(ProcessSettings):
    """`SOMA_*` of the control plane."""

    home: Path = Field(description="$SOMA_HOME.")
    port_base: int = Field(default=18000, description="The edge's ports, where not given: +0 and +1.")
    edge_http_listen: str = Field(default="", description="host:port of plain HTTP; loopback only.")
    edge_tls_listen: str = Field(default="", description="host:port of TLS.")
    edge_access_log: str = Field(default="", description="File of the edge's access log.")
    edge_origins: tuple[str, ...] = Field(
        default=(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?",),
        description="RE2 expressions of browser origins that may call.",
    )
    edge_request_seconds: float = Field(
        default=120.0, gt=0, description="Bound on a client's sending of one whole request."
    )
    descriptors: Path = Field(default=_DESCRIPTORS, description="The contracts' descriptor set.")
    certificates_renewed: bool = Field(
        default=True, description="Whether this process issues leaves; False with cert-manager."
    )
    revocation_bound: int = Field(default=10_000, ge=1, description="Tokens denied at the edge.")

    @cached_property
    def edge(self) -> EdgeSettings:
        """What the edge listens on and writes to."""
        http = self.edge_http_listen or f"127.0.0.1:{self.port_base}"
        tls = self.edge_tls_listen or f"127.0.0.1:{self.port_base + 1}"
        collector = self.otlp_endpoint.split("://")[-1].rstrip("/")
        return EdgeSettings(
            http=Address.parse(http),
            tls=Address.parse(tls),
            access_log=self.edge_access_log or str(self.home / "log" / "edge-access.log"),
            collector=Address.parse(collector) if collector else None,
            trace_percent=self.trace_ratio * 100,
            origins=self.edge_origins,
            request_seconds=self.edge_request_seconds,
        )
