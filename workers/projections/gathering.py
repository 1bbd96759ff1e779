"""Gathers what belongs to one tenant and arrives together, so that it travels in one call.

Nothing waits for company: the first item of a tenant goes at once, and what arrives while a call is under way
goes with the next. Items of a tenant keep their order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Deliver = Callable[[str, Sequence[Item]], Awaitable[None]]


class Gathering(Generic[Item]):
    """One queue for each tenant that has something to deliver."""

    def __init__(
        self, deliver: Deliver[Item], *, most: int, blames_items: Callable[[Exception], bool]
    ) -> None:
        """Take the call to make, how many items fit into one, and which failures an item may have caused."""
        self._deliver = deliver
        self._blames_items = blames_items
        self._most = most
        self._waiting: dict[str, list[tuple[Item, asyncio.Future[None]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, tenant: str, item: Item) -> None:
        """Return when the item was delivered; raises what its delivery raised."""
        delivered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.get(tenant)
        if queue is None:
            queue = self._waiting[tenant] = []
            task = asyncio.create_task(self._run(tenant))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.append((item, delivered))
        await delivered

    async def _run(self, tenant: str) -> None:
        while queue := self._waiting[tenant]:
            batch, self._waiting[tenant] = queue[: self._most], queue[self._most :]
            await self._together(tenant, [(item, to) for item, to in batch if not to.cancelled()])
        del self._waiting[tenant]

    async def _together(self, tenant: str, batch: Sequence[tuple[Item, asyncio.Future[None]]]) -> None:
        """Deliver a batch; where it is refused as a whole, one bad item must not spoil the others."""
        if not batch:
            return
        try:
            await self._deliver(tenant, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - told to whoever put the item, who judges it
            if len(batch) > 1 and self._blames_items(error):
                for each in batch:
                    await self._together(tenant, [each])
                return
            for _, delivered in batch:
                _settle(delivered, error)
        else:
            for _, delivered in batch:
                _settle(delivered, None)


def _settle(delivered: asyncio.Future[None], error: Exception | None) -> None:
    if delivered.done():
        return
    if error is None:
        delivered.set_result(None)
    else:
        delivered.set_exception(error)
