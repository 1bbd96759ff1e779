"""Counts and latencies, for Prometheus and for the operator."""

import random

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from mesh.runtime.callstats import BOUNDS, CallStats, Series


def test_a_quantile_lies_in_the_bucket_of_the_true_one() -> None:
    dice = random.Random(3)
    series = Series("s", "m", "c")
    seconds = sorted(dice.expovariate(20) for _ in range(5000))
    for each in seconds:
        series.add("OK", each)
    for share in (0.5, 0.9, 0.95, 0.99):
        true = seconds[int(share * len(seconds))]
        above = next(bound for bound in BOUNDS if bound >= true)
        below = max((bound for bound in BOUNDS if bound < true), default=0.0)
        assert below <= series.quantile(share) <= above


def test_an_empty_series_has_no_latency_and_no_rate() -> None:
    series = Series("s", "m", "c")
    assert (series.quantile(0.5), series.rate(), series.count) == (0.0, 0.0, 0)


def test_calls_beyond_the_last_bound_are_counted() -> None:
    series = Series("s", "m", "c")
    series.add("OK", 1000.0)
    assert series.count == 1
    assert series.quantile(0.5) == BOUNDS[-1]


def test_errors_are_those_of_the_server() -> None:
    series = Series("s", "m", "c")
    for code in ("OK", "NOT_FOUND", "INTERNAL", "UNAVAILABLE"):
        series.add(code, 0.001)
    assert series.count == 4
    assert series.server_errors == 2


def test_prometheus_reads_what_was_counted() -> None:
    stats = CallStats()
    series = stats.open("soma.s", "M", "gateway")
    assert stats.open("soma.s", "M", "gateway") is series
    series.add("OK", 0.003)
    series.add("NOT_FOUND", 0.3)
    registry = CollectorRegistry()
    registry.register(stats)
    text = generate_latest(registry).decode()
    assert 'soma_rpc_handled_total{caller="gateway",code="NOT_FOUND",method="M",service="soma.s"} 1.0' in text
    assert 'soma_rpc_seconds_bucket{caller="gateway",le="+Inf",method="M",service="soma.s"} 2.0' in text
    assert 'soma_rpc_seconds_bucket{caller="gateway",le="0.005",method="M",service="soma.s"} 1.0' in text


def test_a_rate_is_counted_from_the_oldest_mark() -> None:
    import time

    series = Series("s", "m", "c")
    series.mark(time.monotonic() - 10.0)
    for _ in range(50):
        series.add("OK", 0.001)
    assert series.rate() == pytest.approx(5.0, rel=0.05)
