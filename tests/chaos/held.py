"""What the platform holds after a run, as values: rows, records, entries, and where canaries were seen.

Rows are as their tables have them (columns by name). Everything but `sightings` is restricted to the
tenants of the run, so that a shared stack can be checked beside other users of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A record as a topic holds it."""

    topic: str
    partition: int
    offset: int
    key: str
    tenant: str
    id: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A canary that was found.

    Attributes:
        canary: the word.
        place: where, such as `memory.memories mem_...` or `log/gateway.log:17`.
        tenant: whose place it is; empty where it is nobody's, such as a log.
    """

    canary: str
    place: str
    tenant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A tenant's audit log as its RPCs tell of it."""

    tenant: str
    valid: bool
    count: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of the vector store."""

    collection: str
    id: str
    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Everything."""

    sessions: Sequence[Row] = ()
    turns: Sequence[Row] = ()
    memories: Sequence[Row] = ()
    requests: Sequence[Row] = ()
    documents: Sequence[Row] = ()
    """Documents joined with their present version: id, tenant, request_id, title, digest, passages."""
    passages: Sequence[Row] = ()
    """Passages of the versions that are in force."""
    keys: Sequence[Row] = ()
    outbox: Sequence[Row] = ()
    """Rows of every outbox, with the schema's name as `schema`."""
    audit: Sequence[Row] = ()
    chains: Sequence[Chain] = ()
    records: Sequence[Published] = ()
    logs: Mapping[str, Sequence[tuple[int, bytes]]] = field(default_factory=dict)
    """By turn: (seq, event) of its log in Redis, where it is still there."""
    points: Sequence[Point] = ()
    versions: frozenset[int] = frozenset()
    """Versions of the rule set that were ever stored."""
    sightings: Sequence[Sighting] = ()
    unfinished: Sequence[str] = ()
    """What did not come to its end while the platform was drained."""

    def of_topic(self, *names: str) -> list[Published]:
        """The records of some topics."""
        return [one for one in self.records if one.topic in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An invariant that does not hold.

    Attributes:
        invariant: `I1` to `I8`.
        what: one line with ids, no user's words.
    """

    invariant: str
    what: str


def by(rows: Iterable[Row], column: str) -> dict[Any, list[Row]]:
    """Group rows by a column."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found
