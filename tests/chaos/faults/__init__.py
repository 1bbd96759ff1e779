"""Every fault that the storm may choose; one file a kind."""

from __future__ import annotations

from tests.chaos.fault import Fault

FAULTS: tuple[Fault, ...] = ()
