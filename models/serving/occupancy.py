"""How much of a model is in use, for Triton's metrics: slots that are taken, requests that wait.

Set only when a figure changed: to set one is a message to Triton's process.
"""

from typing import Any, Final

import triton_python_backend_utils as pb_utils

BUSY: Final = "soma_model_slots_busy"
WAITING: Final = "soma_model_requests_waiting"


class Occupancy:
    """The gauges of one model."""

    def __init__(self, *, model: str, slots: int) -> None:
        """Make them; nothing runs yet."""
        self._families = [
            _family(BUSY, "Slots that hold a sequence."),
            _family(WAITING, "Requests that wait for a slot."),
        ]
        labels = {"model": model, "slots": str(slots)}
        self._gauges = [family.Metric(labels=labels) for family in self._families]
        self._told = [0, 0]

    def tell(self, running: int, waiting: int) -> None:
        """Set what changed."""
        for index, value in enumerate((running, waiting)):
            if value != self._told[index]:
                self._told[index] = value
                self._gauges[index].set(value)


def _family(name: str, description: str) -> Any:
    return pb_utils.MetricFamily(name=name, description=description, kind=pb_utils.MetricFamily.GAUGE)
