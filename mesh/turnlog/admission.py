"""The queue of a model, bounded where its slots are known.

A turn holds a place from its admission to its end. The first `slots` places
are being worked on, the others wait; past the bound the answer is "full", at
once. Beyond the bound lie as many places as there are slots for tenants that hold
fewer than so many: a tenant that fills a queue does not close it for the others.
A place that was never given back (a crash between admission and commit)
is taken back after the longest time that a turn may last.
"""

from datetime import timedelta
from typing import Final

from mesh.turnlog import scripts
from mesh.turnlog.keys import TurnKey, load_key
from mesh.turnlog.link import Link

LONGEST_STAY: Final = timedelta(minutes=30)


class QueueFull(Exception):
    """No place is left: `held` turns, of which `waiting` wait."""

    def __init__(self, queue: str, *, held: int, waiting: int, bound: int) -> None:
        """Keep the figures."""
        super().__init__(f"{waiting} turns wait for model {queue}, the bound is {bound}")
        self.queue = queue
        self.held = held
        self.waiting = waiting
        self.bound = bound


class Admission:
    """Places in the queues of models."""

    def __init__(self, link: Link, *, waiting_per_slot: int = 8) -> None:
        """Bound the waiting turns by the slots of their model."""
        self._link = link
        self._waiting_per_slot = waiting_per_slot

    async def admit(self, queue: str, key: TurnKey, *, slots: int) -> int:
        """Take a place; return how many turns wait before it. Repeating it changes nothing.

        Raises:
            QueueFull: the bound is reached, and the tenant has its share of what lies beyond.
        """
        slots = max(1, slots)
        waiting = slots * self._waiting_per_slot
        held, _ = await self._link.run(
            scripts.ADMIT,
            keys=[load_key(queue)],
            arguments=[
                *(key.member, slots + waiting, int(LONGEST_STAY.total_seconds() * 1_000_000)),
                *(slots, key.tenant),
            ],
        )
        if held < 0:
            raise QueueFull(queue, held=-1 - held, waiting=-1 - held - slots, bound=waiting)
        return max(0, int(held) - slots)

    async def position(self, queue: str, key: TurnKey, *, slots: int) -> int:
        """Return how many turns wait before this one; 0 for one that is being worked on."""
        rank = await self._link.call("ZRANK", load_key(queue), key.member)
        return 0 if rank is None else max(0, int(rank) - max(1, slots))

    async def leave(self, queue: str, key: TurnKey) -> None:
        """Give a place back."""
        await self._link.call("ZREM", load_key(queue), key.member)

    async def load(self, queue: str) -> int:
        """Return how many turns the model has accepted."""
        return int(await self._link.call("ZCARD", load_key(queue)))
