"""Ports: one list, no two alike, none where the kernel hands out its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stack.catalogue import WORKLOADS
from mesh.stack.ports import (
    FIRST_EXTRA,
    HIGHEST,
    LAST_EXTRA,
    OFFSETS,
    SPAN,
    Ports,
    metrics_offset,
)

BASES = st.integers(min_value=1024, max_value=HIGHEST - SPAN)


def every_port(ports: Ports) -> list[int]:
    servers = [ports.of(name) for name in OFFSETS]
    metrics = [ports.metrics(one.name) for one in WORKLOADS]
    extra = [port for index in range(LAST_EXTRA - FIRST_EXTRA + 1) for port in ports.extra_pair(index)]
    return servers + metrics + extra


@given(base=BASES)
def test_no_two_listeners_share_a_port_and_all_are_below_the_ephemeral_ones(base: int) -> None:
    found = every_port(Ports(base))
    assert len(found) == len(set(found))
    assert all(base <= port < base + SPAN <= 32768 for port in found)


@pytest.mark.parametrize("base", [0, 80, 1023, HIGHEST - SPAN + 1, 40000])
def test_a_base_that_reaches_outside_is_refused(base: int) -> None:
    with pytest.raises(ValueError, match="port base"):
        Ports(base)


@pytest.mark.parametrize(("offset", "metrics"), [(15, 70), (20, 75), (29, 84), (40, 100), (69, 129)])
def test_metrics_listen_beside_their_process(offset: int, metrics: int) -> None:
    assert metrics_offset(offset) == metrics


@pytest.mark.parametrize("offset", [0, 14, 30, 39, 70])
def test_a_server_has_no_metrics_port(offset: int) -> None:
    with pytest.raises(ValueError, match="no Python process"):
        metrics_offset(offset)


def test_every_workload_has_a_port() -> None:
    assert {one.name for one in WORKLOADS} <= set(OFFSETS)


def test_there_is_an_end_of_extra_ports() -> None:
    with pytest.raises(ValueError, match="extra process 30"):
        Ports().extra_pair(30)
