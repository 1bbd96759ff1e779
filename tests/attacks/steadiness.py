"""That an attack left every process as it was: the same pid, no restart, ready, its memory bounded."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.stack import ProcessRow, Stack

GROWTH = 512 * 1024 * 1024
"""Bytes that a process may have grown by under attack; a bomb grows to more, or to no end."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """The processes of a stack before an attack."""

    stack: Stack
    before: dict[str, ProcessRow]

    @classmethod
    async def of(cls, stack: Stack) -> Steadiness:
        """Look at every process."""
        return cls(stack, await _ready(stack))

    async def check(self, *, growth: int = GROWTH) -> None:
        """Compare with now."""
        after = await _ready(self.stack)
        assert {name: (row.pid, row.restarts) for name, row in after.items()} == {
            name: (row.pid, row.restarts) for name, row in self.before.items()
        }
        grown = {name: after[name].rss_bytes - row.rss_bytes for name, row in self.before.items()}
        assert {name: size for name, size in grown.items() if size > growth} == {}


async def _ready(stack: Stack) -> dict[str, ProcessRow]:
    rows = await stack.processes()
    if any(row.state != "ready" for row in rows):
        await stack.ready()
        rows = await stack.processes()
    return {row.name: row for row in rows}
