"""The process's Prometheus registry: calls, the process itself, and what a service adds."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from mesh.runtime.callstats import CallStats


class Meter:
    """Makes metrics in one registry; names begin with `soma_`."""

    def __init__(self, stats: CallStats) -> None:
        """Register the calls and the process's own figures (memory, CPU, descriptors)."""
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(stats)
        ProcessCollector(registry=self.registry)

    def counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        """Make a counter."""
        return Counter(name, help_text, labels, registry=self.registry)

    def gauge(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        """Make a gauge."""
        return Gauge(name, help_text, labels, registry=self.registry)

    def histogram(
        self, name: str, help_text: str, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> Histogram:
        """Make a histogram."""
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)
