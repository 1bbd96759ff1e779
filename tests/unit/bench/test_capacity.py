"""The arithmetic of the capacity model, against values that are known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import capacity
from scripts.capacity import Day, Demand


@pytest.mark.parametrize(
    ("servers", "offered", "probability"),
    [
        (1, 0.7, 0.7),  # M/M/1: its utilisation
        (2, 1.0, 1 / 3),
        (10, 7.0, 0.2217),  # tables of Erlang C
        (100, 90.0, 0.2169),
    ],
)
def test_erlang_c_has_the_values_of_the_tables(servers: int, offered: float, probability: float) -> None:
    assert capacity.erlang_c(servers, offered) == pytest.approx(probability, rel=2e-3)


def test_a_load_of_all_servers_has_no_answer() -> None:
    with pytest.raises(ValueError, match="need more than 3 servers"):
        capacity.erlang_c(3, 3.0)


@given(st.floats(0.01, 200), st.floats(1e-4, 0.2), st.floats(1e-3, 1))
def test_what_is_sized_keeps_its_wait_and_one_less_does_not(
    offered: float, service: float, wait: float
) -> None:
    servers = capacity.pooled(offered, service, wait)
    assert capacity.waits_longer(servers, offered, service, wait) <= 0.05
    fewer = servers - 1
    assert fewer <= offered or capacity.waits_longer(fewer, offered, service, wait) > 0.05
    assert capacity.split(offered, service, wait) >= servers


def test_a_line_goes_through_its_points() -> None:
    assert capacity.line([(64.0, 10.0), (384.0, 42.0)]) == pytest.approx((3.6, 0.1))


def test_a_closed_loop_is_bound_by_its_streams_first_and_by_the_processors_then() -> None:
    assert capacity.closed(1, 0.5, 0.02, 2) == 2
    assert capacity.closed(1000, 0.5, 0.02, 2) == 100


def test_the_peak_of_ten_million_messages_is_579_a_second() -> None:
    assert Day().rate == pytest.approx(578.7, abs=0.1)


def test_cores_are_the_sum_of_turns_sessions_and_streams() -> None:
    day = Day(messages=86_400 * 100, peak=2, sessions=1000, turns_per_session=10, tokens=100, recalled=0.5)
    one = Demand(turn=0.001, token=0.00001, recall=0.002, session=0.01, stream=0.0001)
    assert one.of_turn(day) == pytest.approx(0.003)
    assert one.cores(day) == pytest.approx(200 * 0.003 + 20 * 0.01 + 1000 * 0.0001)


@pytest.mark.parametrize(("workers", "wanted"), [(1, 2), (3, 8), (4, 8), (33, 128)])
def test_partitions_let_a_group_double(workers: int, wanted: int) -> None:
    assert capacity.partitions(workers) == wanted


def bench() -> dict[str, dict[str, float]]:
    """Rows of a machine of two cores whose turn costs 10 ms, and 50 us a token more, at `slm`."""
    rows: dict[str, dict[str, float]] = {}
    for tokens in capacity.TOKENS:
        cost = 10 + 0.05 * tokens
        alone = 0.1
        for streams in (1, capacity.NARROW, *capacity.WIDE):
            base = f"{streams} streams, {tokens} tokens, without recall"
            rows[f"CPU of a turn, {base}: slm"] = {"ours": cost}
            rate = min(streams / alone, 2 / (cost / 1e3))
            rows[f"road against bare Triton, {base}: throughput"] = {"ours": rate * tokens}
            rows[f"road against bare Triton, {base}: first text p50"] = {
                "ours": 1e3 * max(0.0, (streams - rate * alone) / rate)
            }
    rows["CPU of a turn, 100 streams, 64 tokens, with recall: slm"] = {"ours": 15.2}
    rows["CPU of a session: slm"] = {"ours": 2.0}
    rows["CPU of an idle stream in a second: slm"] = {"ours": 5.0}
    rows["memory of an idle stream over gRPC: slm"] = {"ours": 40.0}
    return rows


def test_demands_come_from_the_rows() -> None:
    found = capacity.demands(bench())["slm"]
    assert found.turn == pytest.approx(0.010)
    assert found.token == pytest.approx(50e-6)
    assert found.recall == pytest.approx(0.002)
    assert (found.session, found.stream, found.stream_bytes) == pytest.approx((2e-3, 5e-6, 40 * 1024))


def test_a_machine_that_keeps_the_laws_is_predicted_exactly() -> None:
    found = capacity.checks(bench(), cores=2)
    assert len(found) >= 6
    assert all(math.isclose(one.predicted, one.measured, rel_tol=1e-9) for one in found)


def test_the_page_names_what_saturates_first() -> None:
    told = capacity.page(bench(), Day(), cores=2)
    assert "**slm** saturates first" in told
    assert "| slm |" in told


def test_a_bench_without_the_road_is_refused() -> None:
    rows = {name: row for name, row in bench().items() if "384 tokens" not in name}
    with pytest.raises(SystemExit, match="run `make bench` first"):
        capacity.demands(rows)
