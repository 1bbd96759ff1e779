"""Counts and latencies of the calls that this process served.

One structure for both readers: Prometheus (`collect`) and the operator's
`soma mesh status` (`series`). Only the event loop writes, so there is no lock.
"""

import asyncio
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Seconds; the finest steps where the budget of a turn is spent.
BOUNDS: Final = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip

SERVER_ERRORS: Final = ("INTERNAL", "UNAVAILABLE", "UNKNOWN", "DATA_LOSS", "DEADLINE_EXCEEDED")
RATE_EVERY: Final = 10.0
RATE_MARKS: Final = 6


class Series:
    """The calls of one method by one workload."""

    __slots__ = ("_marks", "buckets", "caller", "codes", "method", "seconds", "service")

    def __init__(self, service: str, method: str, caller: str) -> None:
        self.service = service
        self.method = method
        self.caller = caller
        self.codes: dict[str, int] = {}
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self._marks: deque[tuple[float, int]] = deque(maxlen=RATE_MARKS)

    def add(self, code: str, seconds: float) -> None:
        """Count one call."""
        self.codes[code] = self.codes.get(code, 0) + 1
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        """All calls."""
        return sum(self.buckets)

    @property
    def server_errors(self) -> int:
        """The calls that ended with an error of the server."""
        return sum(self.codes.get(code, 0) for code in SERVER_ERRORS)

    def mark(self, now: float) -> None:
        """Note the count; called every `RATE_EVERY` seconds."""
        self._marks.append((now, self.count))

    def rate(self) -> float:
        """Return calls a second since the oldest mark, about a minute ago."""
        if not self._marks:
            return 0.0
        since, before = self._marks[0]
        passed = time.monotonic() - since
        return (self.count - before) / passed if passed > 0 else 0.0

    def quantile(self, share: float) -> float:
        """Return the latency in seconds that `share` of the calls do not exceed.

        Interpolated inside its bucket, as Prometheus' `histogram_quantile` does.
        """
        total = self.count
        if not total:
            return 0.0
        rank = share * total
        below = 0
        for index, held in enumerate(self.buckets):
            if held and below + held >= rank:
                if index == len(BOUNDS):
                    return BOUNDS[-1]
                low = BOUNDS[index - 1] if index else 0.0
                return low + (BOUNDS[index] - low) * (rank - below) / held
            below += held
        return BOUNDS[-1]


class CallStats(Collector):
    """Every series of the process, and a Prometheus collector over them."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, str], dict[str, Series]] = {}

    def of_method(self, service: str, method: str) -> dict[str, Series]:
        """Return the live map of a method's series by caller."""
        return self._methods.setdefault((service, method), {})

    def open(self, service: str, method: str, caller: str) -> Series:
        """Return the series of a method and caller, made if need be."""
        series = self.of_method(service, method)
        return series.setdefault(caller, Series(service, method, caller))

    def series(self) -> Iterator[Series]:
        """Yield every series."""
        for callers in self._methods.values():
            yield from callers.values()

    async def keep_rates(self) -> None:
        """Mark every series for ever, so that rates cover the last minute."""
        while True:
            await asyncio.sleep(RATE_EVERY)
            for series in self.series():
                series.mark(time.monotonic())

    def collect(self) -> Iterable[Metric]:
        """Return the Prometheus families."""
        labels = ["service", "method", "caller"]
        handled = CounterMetricFamily(
            "soma_rpc_handled", "Calls that ended, by gRPC code.", labels=[*labels, "code"]
        )
        duration = HistogramMetricFamily("soma_rpc_seconds", "Duration of calls in seconds.", labels=labels)
        for series in tuple(self.series()):
            names = [series.service, series.method, series.caller]
            for code, count in series.codes.items():
                handled.add_metric([*names, code], count)
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, held in zip((*BOUNDS, "+Inf"), series.buckets, strict=True):
                total += held
                buckets.append((str(bound), total))
            duration.add_metric(names, buckets, sum_value=series.seconds)
        return (handled, duration)
