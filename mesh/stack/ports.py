"""Every port of the stack, as an offset from `SOMA_PORT_BASE`: the one list.

All listeners are on 127.0.0.1 and below 32768, because the kernel hands out the ports above as
ephemeral ones and a server would fail to bind now and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LOOPBACK = "127.0.0.1"
DEFAULT_BASE = 18000
HIGHEST = 32767

OFFSETS: Mapping[str, int] = MappingProxyType(
    {
        "edge-http": 0,
        "edge-tls": 1,
        "envoy-admin": 2,
        "postgres": 3,
        "redis": 4,
        "kafka": 5,
        "kafka-controller": 6,
        "temporal": 7,
        "temporal-ui": 8,
        "temporal-http": 9,
        "temporal-metrics": 10,
        "triton-http": 11,
        "triton": 12,
        "triton-metrics": 13,
        "vectors": 14,
        "xds": 15,
        "envoy-admin-next": 16,
        "identity": 20,
        "policy": 21,
        "orchestrator": 22,
        "memory": 23,
        "slm": 24,
        "gateway": 25,
        "audit": 26,
        "worker-slm": 27,
        "worker-outbox": 28,
        "worker-projections": 29,
    }
)

FIRST_OWN, LAST_OWN = 15, 29
FIRST_EXTRA, LAST_EXTRA = 40, 69
FIRST_SUCCESSOR = 15
OWN_METRICS, EXTRA_METRICS = 70, 100
SPAN = EXTRA_METRICS + (LAST_EXTRA - FIRST_EXTRA) + 1


def metrics_offset(offset: int) -> int:
    """Give the offset of a Python process's metrics listener from that of its gRPC listener.

    Raises:
        ValueError: no Python process listens at that offset.
    """
    if FIRST_OWN <= offset <= LAST_OWN:
        return OWN_METRICS + offset - FIRST_OWN
    if FIRST_EXTRA <= offset <= LAST_EXTRA:
        return EXTRA_METRICS + offset - FIRST_EXTRA
    raise ValueError(f"offset {offset} is no Python process's")


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one stack."""

    base: int = DEFAULT_BASE

    def __post_init__(self) -> None:
        """Refuse a base that reaches into the ephemeral ports or the privileged ones."""
        if not 1024 <= self.base <= HIGHEST - SPAN:
            raise ValueError(f"port base {self.base} is not within 1024..{HIGHEST - SPAN}")

    def of(self, name: str) -> int:
        """Give the port of a listener in `OFFSETS`."""
        return self.base + OFFSETS[name]

    def address(self, name: str) -> str:
        """Give `host:port` of a listener in `OFFSETS`."""
        return f"{LOOPBACK}:{self.of(name)}"

    def metrics(self, name: str) -> int:
        """Give the metrics port of a Python process in `OFFSETS`."""
        return self.base + metrics_offset(OFFSETS[name])

    def extra_pair(self, index: int) -> tuple[int, int]:
        """Give the gRPC and metrics ports of the canary or replica with that index.

        Raises:
            ValueError: all of them are in use.
        """
        offset = FIRST_EXTRA + index
        if not FIRST_EXTRA <= offset <= LAST_EXTRA:
            raise ValueError(f"there is no port for extra process {index}")
        return self.base + offset, self.base + metrics_offset(offset)

    def successor_pair(self, index: int) -> tuple[int, int]:
        """Give the gRPC and metrics ports of whoever takes the place of the workload with that index.

        Raises:
            ValueError: all of them are in use.
        """
        return self.extra_pair(FIRST_SUCCESSOR + index)
