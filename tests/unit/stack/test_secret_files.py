"""Secrets: made once, readable by their owner only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mesh.stack.errors import Code, StackError
from mesh.stack.secret_files import secret


def test_a_secret_stays_the_same_and_differs_from_others(tmp_path: Path) -> None:
    first = secret(tmp_path, "redis-identity")
    assert secret(tmp_path, "redis-identity") == first
    assert secret(tmp_path, "redis-policy") != first
    assert len(first) >= 32


def test_a_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    secret(tmp_path, "one")
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret(tmp_path, "one")
    (tmp_path / "one").chmod(0o644)
    with pytest.raises(StackError) as refused:
        secret(tmp_path, "one")
    assert refused.value.code is Code.BAD_SETTING


def test_all_who_ask_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as workers:
        found = set(workers.map(lambda _: secret(tmp_path, "one"), range(32)))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
