"""Every fault that the storm may choose; one file a kind."""

from __future__ import annotations

from tests.chaos.fault import Fault
from tests.chaos.faults import clients, clock, disk, network, processes, records, servers

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS,
    *servers.FAULTS,
    *network.FAULTS,
    *disk.FAULTS,
    *clock.FAULTS,
    *records.FAULTS,
    *clients.FAULTS,
)
