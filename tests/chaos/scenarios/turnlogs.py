"""What a turn's log holds, entry by entry: its writers, their epochs and fences, one gap-free order, one end.

Read as Redis holds it, not through the platform's own reader: a reader that is wrong in the same way as
the writers would find nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.stack.environment import Environment
from mesh.turnlog import Link, TurnKey
from tests.support.stack import Stack


@dataclass(frozen=True, slots=True)
class Raw:
    """One entry of a log."""

    epoch: int
    place: int
    fields: dict[bytes, bytes]

    @property
    def fence(self) -> bool:
        """Whether it is no event but the beginning of an epoch."""
        return self.place == 0


async def entries(link: Link, key: TurnKey) -> list[Raw]:
    """Every entry of a log, fences included."""
    found = []
    for identity, pairs in await link.call("XRANGE", key.log, "-", "+"):
        epoch, _, place = identity.decode().partition("-")
        found.append(Raw(int(epoch), int(place), dict(zip(pairs[::2], pairs[1::2], strict=True))))
    return found


def epochs(log: Sequence[Raw]) -> list[int]:
    """The epochs in which somebody held the turn, in order."""
    return [one.epoch for one in log if one.fence]


def damage(log: Sequence[Raw]) -> list[str]:
    """Say what no log may show; nothing where all is well."""
    wrong: list[str] = []
    events = [one for one in log if not one.fence]
    if [one.place for one in events] != list(range(1, len(events) + 1)):
        wrong.append(f"places {[one.place for one in events]} have a gap or a repeat")
    fences = epochs(log)
    if fences != sorted(set(fences)):
        wrong.append(f"epochs {fences} do not rise")
    holder, written = 0, 0
    for one in log:
        if one.fence:
            holder = one.epoch
            if int(one.fields[b"next"]) != written:
                wrong.append(f"the fence of {holder} says {one.fields[b'next']!r}, {written} are there")
        else:
            written += 1
            if one.epoch != holder:
                wrong.append(f"event {one.place} is of epoch {one.epoch} while {holder} holds the turn")
    ends = [one.place for one in events if b"k" in one.fields]
    if ends != [len(events)]:
        wrong.append(f"the ends are {ends}, the last event is {len(events)}")
    return wrong


def redis_url(stack: Stack) -> str:
    """The stack's Redis, as the user who may see everything."""
    return Environment(stack.settings).redis_url("supervisor")
