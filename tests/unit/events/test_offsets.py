"""Which offsets may be committed."""

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from mesh.events.offsets import Offsets

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


def owning(*partitions: TopicPartition) -> Offsets:
    offsets = Offsets()
    offsets.assign(partitions)
    return offsets


def test_nothing_is_committed_past_a_record_at_work() -> None:
    offsets = owning(P0)
    for offset in (5, 6, 7):
        assert offsets.begin(P0, offset)
    assert not offsets.end(P0, 7) or offsets.to_commit() == {P0: 5}
    assert offsets.end(P0, 5)
    assert offsets.to_commit() == {P0: 6}
    assert offsets.end(P0, 6)
    assert offsets.to_commit() == {P0: 8}


def test_what_was_committed_is_not_committed_again() -> None:
    offsets = owning(P0, P1)
    offsets.begin(P0, 0)
    offsets.end(P0, 0)
    done = offsets.to_commit()
    offsets.committed(done)
    assert offsets.to_commit() == {}


def test_a_record_is_begun_once() -> None:
    offsets = owning(P0)
    assert offsets.begin(P0, 3)
    assert not offsets.begin(P0, 3)
    offsets.end(P0, 3)
    assert not offsets.begin(P0, 3)
    assert offsets.begin(P0, 4)


def test_records_of_a_partition_that_is_not_ours_are_left_alone() -> None:
    offsets = owning(P0)
    assert not offsets.begin(P1, 0)
    offsets.begin(P0, 0)
    offsets.release([P0])
    assert not offsets.end(P0, 0)
    assert offsets.to_commit() == {}


def test_a_partition_that_comes_back_begins_anew() -> None:
    offsets = owning(P0)
    offsets.begin(P0, 9)
    offsets.end(P0, 9)
    offsets.release([P0])
    offsets.assign([P0])
    assert offsets.begin(P0, 5)


@given(st.permutations(range(12)), st.integers(0, 12))
def test_a_commit_never_skips_and_ends_behind_the_last(order: list[int], crash: int) -> None:
    offsets = owning(P0)
    for offset in range(12):
        offsets.begin(P0, offset)
    done: set[int] = set()
    for offset in order[:crash]:
        offsets.end(P0, offset)
        done.add(offset)
        for watermark in offsets.to_commit().values():
            assert set(range(watermark)) <= done
    if crash == 12:
        assert offsets.to_commit() == {P0: 12}
