"""Which offsets may be committed: everything below the first record that is still at work."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition

_NOTHING: Final = -1


@dataclass(slots=True)
class _Partition:
    running: dict[int, None] = field(default_factory=dict)  # in the order of their offsets
    highest_done: int = _NOTHING
    committed: int = _NOTHING

    def watermark(self) -> int:
        """Return the offset to go on from after a crash."""
        first = next(iter(self.running), None)
        return self.highest_done + 1 if first is None else first


class Offsets:
    """The records at work of every partition that this member owns."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self.assigned = False

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Own partitions from now on."""
        for partition in partitions:
            self._partitions.setdefault(partition, _Partition())
        self.assigned = True

    def release(self, partitions: Iterable[TopicPartition]) -> None:
        """Own these no longer; what ends later is not committed."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def begin(self, partition: TopicPartition, offset: int) -> bool:
        """Note a record as at work; False where it is not ours or is known already."""
        found = self._partitions.get(partition)
        if found is None or offset <= max(found.highest_done, _last(found.running)):
            return False
        found.running[offset] = None
        return True

    def end(self, partition: TopicPartition, offset: int) -> bool:
        """Note a record as done; True where something new may be committed."""
        found = self._partitions.get(partition)
        if found is None or offset not in found.running:
            return False
        del found.running[offset]
        found.highest_done = max(found.highest_done, offset)
        return found.watermark() > found.committed

    def to_commit(self) -> dict[TopicPartition, int]:
        """Return the watermarks that are not committed yet."""
        return {
            partition: found.watermark()
            for partition, found in self._partitions.items()
            if found.highest_done != _NOTHING and found.watermark() > found.committed
        }

    def committed(self, done: Mapping[TopicPartition, int]) -> None:
        """Note what the broker took."""
        for partition, offset in done.items():
            if (found := self._partitions.get(partition)) is not None:
                found.committed = max(found.committed, offset)


def _last(running: dict[int, None]) -> int:
    return next(reversed(running), _NOTHING)
