"""Rate, errors, duration: one entry per method and calling workload."""

from typing import Final

import grpc

from mesh.runtime.callstats import CallStats
from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.hooks import Hooks, Outcome

_OK: Final = grpc.StatusCode.OK


class Metrics:
    """Counts every call, the refused ones too."""

    def __init__(self, stats: CallStats) -> None:
        """Count into `stats`, which Prometheus and `Introspection/GetStats` read."""
        self._stats = stats

    def bind(self, contract: MethodContract) -> Hooks:
        """Count at the end of each call."""
        service, method = contract.service, contract.name
        series = self._stats.of_method(service, method)

        def finish(call: CallContext, outcome: Outcome) -> None:
            found = series.get(call.caller)
            if found is None:
                found = self._stats.open(service, method, call.caller)
            # An enum's `name` is a call of its own; nearly every code is this one.
            found.add("OK" if outcome.code is _OK else outcome.code.name, outcome.seconds)

        return Hooks(finish=finish)
