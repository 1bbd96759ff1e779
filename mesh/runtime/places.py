"""Places that tenants share: so many at once, and those who wait are served by turns of their tenants.

A tenant with many waiting costs another one turn and not all of them (round robin over the sources:
J. Nagle, RFC 970, 1985). Where no more may wait, the tenant that waits most gives way: its newest is
refused, and the newcomer takes its place (B. Suter et al., "Design considerations for supporting TCP
with per-flow queueing", 1998: longest queue drop). So nobody is refused because of what others do, and
a tenant that is alone may have everything.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator


class NoPlace(Exception):
    """As many wait as may; `waiting` of them."""

    def __init__(self, waiting: int) -> None:
        """Keep the figure."""
        super().__init__(f"{waiting} wait, which is the bound")
        self.waiting = waiting


class Places:
    """A bounded number of places, for one event loop."""

    def __init__(self, count: int, *, each: int | None = None, waiting: int | None = None) -> None:
        """Hold nothing yet.

        Args:
            count: places.
            each: of them for one tenant at most, where one must not hold them all.
            waiting: how many may wait for one; all, where another bound keeps them few.
        """
        self._free = count
        self._each = count if each is None else each
        self._bound = waiting
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # in the order of their turns

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @contextlib.asynccontextmanager
    async def held(self, tenant: str) -> AsyncIterator[None]:
        """Hold a place for the block.

        Raises:
            NoPlace: no more may wait, and no tenant waits more than this one.
        """
        await self.enter(tenant)
        try:
            yield
        finally:
            self.leave(tenant)

    async def enter(self, tenant: str) -> None:
        """Wait for a place.

        Raises:
            NoPlace: no more may wait, and no tenant waits more than this one.
        """
        if self._free and self._held[tenant] < self._each:
            self._give(tenant)
            return
        if self._bound is not None and self.waiting >= self._bound:
            self._make_room(tenant)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(tenant, turn)
            elif turn.exception() is None:
                self.leave(tenant)  # it was given one meanwhile
            raise

    def leave(self, tenant: str) -> None:
        """Give a place back; the next in turn has it."""
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        while self._free and (following := self._next()) is not None:
            turns = self._waiting.pop(following)
            first = turns.popleft()
            if turns:
                self._waiting[following] = turns  # behind the others
            if not first.done():  # as one is that was cancelled in this round
                self._give(following)
                first.set_result(None)

    def _give(self, tenant: str) -> None:
        self._free -= 1
        self._held[tenant] += 1

    def _next(self) -> str | None:
        return next((one for one in self._waiting if self._held[one] < self._each), None)

    def _make_room(self, tenant: str) -> None:
        """Refuse the newest of whoever waits most.

        Raises:
            NoPlace: that is the tenant itself.
        """
        longest = max(self._waiting, key=lambda one: len(self._waiting[one]), default=tenant)
        refused = NoPlace(self.waiting)
        if len(self._waiting.get(longest, ())) <= len(self._waiting.get(tenant, ())) + 1:
            raise refused
        newest = self._waiting[longest].pop()
        if not newest.done():
            newest.set_exception(refused)

    def _forget(self, tenant: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(tenant)
        if turns is None or turn not in turns:
            return
        turns.remove(turn)
        if not turns:
            del self._waiting[tenant]
