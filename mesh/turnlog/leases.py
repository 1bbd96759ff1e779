"""Who may write: claims, renewals, hand-over and the end of a turn.

A lease ends by the clock of Redis. Renewing and learning which leases have
expired are one script for all turns of a worker; whoever claims first wins. (A
registry of workers with heartbeats was tried first: a paused worker was taken
off it, woke up, was never put back, and its next death left turns hanging.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mesh.turnlog import scripts
from mesh.turnlog.connection import Connection
from mesh.turnlog.errors import LogDamaged
from mesh.turnlog.keys import LEASES, SIGNALS, TurnKey, load_key
from mesh.turnlog.link import Link
from mesh.turnlog.reader import Entry, entries_of

LEASE: Final = timedelta(seconds=2)
KEPT_WHILE_OPEN: Final = timedelta(hours=24)
KEPT_WHEN_DONE: Final = timedelta(hours=1)
"""Until the turn's row tells the same: so long may Postgres and Kafka be away."""
KEPT_WHEN_STORED: Final = timedelta(minutes=5)
"""For those who are reading; afterwards the row answers."""
MARK_KEPT: Final = timedelta(minutes=10)
"""For a request that comes once more: it is known to be done."""
_MOST_EXPIRED: Final = 32


class Refusal(StrEnum):
    """Why a claim got nothing."""

    DONE = "done"
    """The turn has ended."""
    OWNED = "owned"
    """Another one's lease lasts."""
    UNKNOWN = "unknown"
    """Nothing is known of the turn here: the log was lost, and the caller has no request."""


class Standing(StrEnum):
    """Where a turn stands, for the reaper."""

    DONE = "done"
    LEASED = "leased"
    """Somebody holds it, or may take it over."""
    WAITING = "waiting"
    """Opened, and on its way to a worker."""
    ORPHANED = "orphaned"
    """Was claimed, and nobody can find it any more."""
    ABSENT = "absent"
    """Neither log nor lease."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A turn that is the caller's until the lease ends."""

    key: TurnKey
    epoch: int
    next_seq: int
    cancelled: bool
    request: bytes
    entries: tuple[Entry, ...]
    connection: Connection
    """The connection to write on: order holds on one connection only."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal found."""

    taken: tuple[TurnKey, ...]
    """No longer the caller's: stop."""
    gone: tuple[TurnKey, ...]
    """Redis lost them: claim again."""
    expired: tuple[TurnKey, ...]
    """Anybody's: claim if there is room."""


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


class Leases:
    """The leases, as seen by one owner."""

    def __init__(
        self,
        link: Link,
        *,
        owner: str,
        lease: timedelta = LEASE,
        kept: timedelta = KEPT_WHEN_DONE,
    ) -> None:
        """Take the owner's name, different for each process there ever was."""
        self._link = link
        self._owner = owner
        self._lease = _ms(lease)
        self._kept = _ms(kept)

    async def open_log(self, key: TurnKey, events: Sequence[bytes]) -> bool:
        """Write the opening with epoch 0; False where the log is there already."""
        reply, _ = await self._link.run(
            scripts.OPEN, keys=[key.log, key.meta], arguments=[_ms(KEPT_WHILE_OPEN), *events]
        )
        return bool(reply)

    async def discard_log(self, key: TurnKey) -> bool:
        """Remove the log of a turn that was not made after all; one that was claimed stays.

        Where the turn was made nevertheless nothing is lost: its claim writes the opening again.
        """
        reply, _ = await self._link.run(scripts.DISCARD, keys=[key.log, key.meta], arguments=[])
        return bool(reply)

    async def claim(
        self, key: TurnKey, *, request: bytes = b"", opening: Sequence[bytes] = ()
    ) -> Claimed | Refusal:
        """Take a turn and fence its log.

        `request` is kept for whoever takes over; without it the kept one is used.

        Raises:
            LogUnavailable: Redis does not answer; a claim of the same owner may be repeated.
            LogDamaged: the log is not one of this package's.
        """
        reply, connection = await self._link.run(
            scripts.CLAIM,
            keys=[LEASES, key.meta, key.log],
            arguments=[
                *(key.member, self._owner, self._lease, _ms(KEPT_WHILE_OPEN), request),
                *opening,
            ],
        )
        if len(reply) == 1:
            return Refusal(reply[0].decode())
        _, epoch, next_seq, cancelled, kept, raw = reply
        entries = tuple(entries_of(raw))
        if len(entries) != next_seq:
            raise LogDamaged(f"{key.log} has {len(entries)} events below seq {next_seq}")
        return Claimed(key, int(epoch), next_seq, bool(cancelled), kept, entries, connection)

    async def renew(self, held: Mapping[TurnKey, int]) -> Renewal:
        """Renew the leases of these turns (by epoch) and tell what changed."""
        triples = [part for key, epoch in held.items() for part in (key.member, key.meta, epoch)]
        (lost, expired), _ = await self._link.run(
            scripts.RENEW, keys=[LEASES], arguments=[self._lease, _MOST_EXPIRED, *triples]
        )
        fates = [(TurnKey.of_member(m), fate) for m, fate in zip(lost[::2], lost[1::2], strict=True)]
        return Renewal(
            taken=tuple(key for key, fate in fates if fate == b"taken"),
            gone=tuple(key for key, fate in fates if fate == b"gone"),
            expired=tuple(key for key in map(TurnKey.of_member, expired) if key not in held),
        )

    async def finish(self, key: TurnKey, *, epoch: int, queue: str) -> bool:
        """Mark the turn as done and free its place; False when it is another one's by now."""
        reply, _ = await self._link.run(
            scripts.FINISH,
            keys=[LEASES, key.meta, key.log, load_key(queue)],
            arguments=[key.member, epoch, self._kept, _ms(KEPT_WHEN_STORED), _ms(MARK_KEPT)],
        )
        return bool(reply)

    async def stored(self, key: TurnKey) -> None:
        """Let go of a turn whose row holds all that its log does, once it is done here too."""
        await self._link.run(
            scripts.STORED,
            keys=[key.meta, key.log],
            arguments=[_ms(KEPT_WHEN_STORED), _ms(MARK_KEPT)],
        )

    async def release(self, key: TurnKey, *, epoch: int) -> bool:
        """Hand the turn over: its lease ends now, and the other workers are told."""
        reply, _ = await self._link.run(
            scripts.RELEASE, keys=[LEASES, key.meta, SIGNALS], arguments=[key.member, epoch]
        )
        return bool(reply)

    async def cancel(self, key: TurnKey) -> None:
        """Mark the turn as cancelled and tell its worker, or whoever claims it next."""
        await self._link.run(
            scripts.CANCEL, keys=[key.meta, SIGNALS], arguments=[key.member, _ms(KEPT_WHILE_OPEN)]
        )

    async def standing(self, key: TurnKey) -> Standing:
        """Tell where a turn stands."""
        reply, _ = await self._link.run(
            scripts.STANDING, keys=[LEASES, key.meta, key.log], arguments=[key.member]
        )
        return Standing(reply.decode())
