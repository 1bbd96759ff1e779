"""Processes are told apart by pid, start time and boot."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mesh.stack.processes import Identity, parse_stat, resident_bytes

FIELDS = "S 1 4242 4242 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 987654 1000 10"


@pytest.mark.parametrize("name", ["redis-server", "a b", "x) R 9 9 (", "Web Content"])
def test_a_status_line_is_read_whatever_the_name(name: str) -> None:
    found = parse_stat(f"4242 ({name}) {FIELDS}")
    assert (found.pid, found.parent, found.session, found.started) == (4242, 1, 4242, 987654)
    assert not found.zombie


def test_a_zombie_is_told() -> None:
    assert parse_stat(f"4242 (gone) {FIELDS.replace('S', 'Z', 1)}").zombie


def test_this_process_lives_and_one_with_its_pid_from_another_time_does_not() -> None:
    own = Identity.of(os.getpid())
    assert own is not None
    assert own.alive()
    assert not replace(own, started=own.started - 1).alive()
    assert not replace(own, boot="another").alive()


def test_a_process_holds_memory_and_a_missing_one_none() -> None:
    assert resident_bytes([os.getpid()]) > 1_000_000
    assert resident_bytes([2**22 + 1]) == 0
    assert resident_bytes([]) == 0
