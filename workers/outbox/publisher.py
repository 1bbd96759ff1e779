"""The two loops: publish what was left behind, delete what was published long ago."""

import asyncio
from collections.abc import Callable
from typing import Final

from mesh.events import outbox
from mesh.events.bus import Bus
from mesh.events.records import Envelope
from mesh.runtime.errors import SomaError
from mesh.runtime.logging import get_logger
from mesh.storage import Database

_log = get_logger(__name__)
LEFT_BEHIND_AFTER: Final = 2.0
KEEP_PUBLISHED: Final = 3600.0
_EVERY: Final = 1.0
_SWEEP_EVERY: Final = 60.0
_LOOK_FOR_TABLES_EVERY: Final = 30.0
_PAUSE_AFTER_FAILURE: Final = 5.0
_BATCH: Final = 200
Count = Callable[[str, int], None]


class Publisher:
    """Works through every outbox that its role may touch.

    Several may run at once: rows are locked while they are published, and locked rows are passed over.
    """

    def __init__(self, *, database: Database, bus: Bus, published: Count, failed: Count) -> None:
        """Take what to read from, what to publish to, and who counts."""
        self._database = database
        self._bus = bus
        self._published = published
        self._failed = failed
        self._tables: tuple[str, ...] = ()
        self._looked_at = float("-inf")
        self._set_aside: set[str] = set()

    async def publish_for_ever(self) -> None:
        """Publish what was left behind, once a second; an outage is waited out."""
        while True:
            pause = _EVERY
            try:
                await self.publish_once()
            except Exception as error:  # noqa: BLE001 - an outage of Postgres or Kafka ends; the loop does not
                _log.warning("outboxes not read", cause=f"{type(error).__name__}: {error}")
                pause = _PAUSE_AFTER_FAILURE
            await asyncio.sleep(pause)

    async def sweep_for_ever(self) -> None:
        """Delete what was published long ago, once a minute."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            try:
                await self.sweep_once()
            except Exception as error:  # noqa: BLE001 - as above
                _log.warning("outboxes not swept", cause=f"{type(error).__name__}: {error}")

    async def publish_once(self, *, older_than: float = LEFT_BEHIND_AFTER) -> int:
        """Publish every row left behind for `older_than` seconds; return how many."""
        total = 0
        for table in await self._with_work(older_than):
            while True:
                seen, done = await self._publish_batch(table, older_than)
                total += done
                if seen < _BATCH:
                    break
        return total

    async def sweep_once(self, *, older_than: float = KEEP_PUBLISHED) -> int:
        """Delete rows published longer ago than `older_than` seconds; return how many."""
        self._set_aside.clear()  # what failed gets another chance
        total = 0
        for table in await self._known_tables():
            while True:
                async with self._database.transaction_all_tenants() as connection:
                    gone = await outbox.sweep(
                        connection, table=table, older_than=older_than, limit=10 * _BATCH
                    )
                total += gone
                if gone < 10 * _BATCH:
                    break
        return total

    async def _publish_batch(self, table: str, older_than: float) -> tuple[int, int]:
        async with self._database.transaction_all_tenants() as connection:
            rows = await outbox.claim(
                connection, table=table, older_than=older_than, limit=_BATCH, besides=self._set_aside
            )
            sent = await self._send(table, rows)
            if sent:
                await outbox.mark(connection, sent, table=table)
        if rows:
            _log.info("left-behind rows published", table=table, rows=len(rows), published=len(sent))
        self._published(table, len(sent))
        return len(rows), len(sent)

    async def _send(self, table: str, rows: list[Envelope]) -> list[str]:
        # Started in the order of the rows, so that records of one key keep theirs.
        sending = [asyncio.ensure_future(self._bus.send(row)) for row in rows]
        results = await asyncio.gather(*sending, return_exceptions=True)
        sent: list[str] = []
        for row, result in zip(rows, results, strict=True):
            if result is None:
                sent.append(row.id)
            elif isinstance(result, SomaError):
                self._set_aside.add(row.id)
                _log.warning(
                    "row not published", table=table, record=row.id, topic=row.topic, cause=str(result)
                )
            else:
                raise result
        self._failed(table, len(rows) - len(sent))
        return sent

    async def _with_work(self, older_than: float) -> list[str]:
        tables = await self._known_tables()
        if not tables:
            return []
        async with self._database.transaction_all_tenants(readonly=True) as connection:
            return await outbox.with_unpublished(connection, tables=tables, older_than=older_than)

    async def _known_tables(self) -> tuple[str, ...]:
        now = asyncio.get_running_loop().time()
        if now - self._looked_at > _LOOK_FOR_TABLES_EVERY or not self._tables:
            async with self._database.transaction_all_tenants(readonly=True) as connection:
                self._tables = await outbox.tables(connection)
            self._looked_at = now
        return self._tables
