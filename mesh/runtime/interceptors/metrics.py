"""Rate, errors, duration: one entry per method and calling workload."""

from mesh.runtime.callstats import CallStats
from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.hooks import Hooks, Outcome


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
            found.add(outcome.code.name, outcome.seconds)

        return Hooks(finish=finish)
