"""Ids: their form, and that they sort by their making."""

import re
import threading
import time

from mesh.runtime.ids import IdSource, new_id


def test_an_id_is_its_prefix_and_a_uuid_of_version_7() -> None:
    assert re.fullmatch(r"trn_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", new_id("trn"))


def test_an_id_begins_with_the_milliseconds_of_its_making() -> None:
    before = time.time_ns() // 1_000_000
    made = int(IdSource().uuid7()[:12], 16)
    assert before <= made <= time.time_ns() // 1_000_000 + 1


def test_ids_of_one_source_grow_and_never_repeat_across_threads() -> None:
    source = IdSource()
    per_thread: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        into.extend(source.uuid7() for _ in range(5000))

    threads = [threading.Thread(target=make, args=(into,)) for into in per_thread]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for made in per_thread:
        assert made == sorted(made)
    assert len({each for made in per_thread for each in made}) == 20_000
