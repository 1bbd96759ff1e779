"""The bus: publishes records to Kafka, acknowledged by every in-sync replica.

`leave` is the fast road of the outbox: it publishes what the transaction just
committed, beside the call, and marks the rows in batches. It never fails its
caller, because the row is there and the outbox worker goes on with it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
)

from mesh.events import outbox
from mesh.events.departures import Departures
from mesh.events.identity import KafkaIdentity
from mesh.events.records import Envelope, Event, Record, seal
from mesh.runtime.errors import ConfigurationError, Unavailable
from mesh.runtime.logging import get_logger
from mesh.runtime.settings import ProcessSettings
from mesh.runtime.waiting import until_up
from mesh.storage.database import Database

_log = get_logger(__name__)
LOST: Final = (KafkaConnectionError, NodeNotReadyError, OSError, TimeoutError)
_FATAL: Final = (
    IllegalOperation, OutOfOrderSequenceNumber, ProducerClosed, ProducerFenced, UnknownProducerId,
)  # fmt: skip
_REQUEST_MS: Final = 5_000
_MARK_EVERY: Final = 0.2
_MARK_AT_MOST: Final = 500
_STOP_SECONDS: Final = 3.0


class RecordTooLarge(Unavailable):
    """The broker, or this client, never takes a record of that size: another try is of no use."""


class Bus:
    """One producer; made by `open`, flushed and closed with it."""

    def __init__(self, settings: ProcessSettings, identity: KafkaIdentity, database: Database | None) -> None:
        """Prepare a bus; see `open`."""
        self._settings = settings
        self._identity = identity
        self._database = database
        self._producer = self._make()
        self._renewing = asyncio.Lock()
        self._published: list[str] = []
        self._marking: asyncio.Task[None] | None = None
        self._departures = Departures(self.publish_committed)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: ProcessSettings, database: Database | None = None) -> AsyncIterator["Bus"]:
        """Connect, waiting for a broker that is still starting.

        Args:
            settings: the process's; names the broker and the certificate.
            database: where rows are marked; None where only `publish` is used.

        Raises:
            mesh.runtime.errors.DependencyDown: no answer within the settings' `start_seconds`.
        """
        identity = KafkaIdentity(settings.pki_dir)
        bus = cls(settings, identity, database)
        following = asyncio.ensure_future(identity.follow())
        try:
            await until_up("kafka", bus._start, retry_on=LOST, seconds=settings.start_seconds)
            yield bus
        finally:
            following.cancel()
            await bus._close()

    async def publish(self, record: Record[Event]) -> None:
        """Publish a record that is in no outbox and return once it is acknowledged.

        Raises:
            mesh.runtime.errors.Unavailable: the broker did not acknowledge it in time.
        """
        await self.send(seal(record))

    def leave(self, envelopes: Iterable[Envelope]) -> None:
        """Publish records whose outbox rows are committed, beside the caller (`mesh.events.departures`).

        Raises:
            ConfigurationError: the bus was opened without a database.
        """
        if self._database is None:
            raise ConfigurationError("a bus without a database has no outbox")
        self._departures.leave(envelopes)

    async def publish_committed(self, record: Record[Event] | Envelope) -> bool:
        """Publish a record whose outbox row is committed; False where the worker has to.

        Raises:
            ConfigurationError: the bus was opened without a database.
        """
        if self._database is None:
            raise ConfigurationError("publish_committed needs a bus with a database")
        sealed = record if isinstance(record, Envelope) else seal(record)
        try:
            await self.send(sealed)
        except Unavailable as error:
            _log.warning("record left to the outbox worker", record=sealed.id, cause=error.message)
            return False
        self._published.append(sealed.id)
        if self._marking is None or self._marking.done():
            self._marking = asyncio.ensure_future(self._mark(self._database))
        return True

    async def send(
        self, envelope: Envelope, *, topic: str | None = None, more: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        """Send bytes and wait for the acknowledgement.

        Raises:
            RecordTooLarge: the record is larger than the broker takes.
            mesh.runtime.errors.Unavailable: there was none in time; it may still arrive.
        """
        producer = self._producer
        try:
            sent = await producer.send(
                topic or envelope.topic,
                value=envelope.payload,
                key=envelope.key.encode(),
                headers=[*envelope.kafka_headers(), *more],
            )
            async with asyncio.timeout(2 * _REQUEST_MS / 1000):
                await sent
        except MessageSizeTooLargeError as error:
            cause = f"a record of {len(envelope.payload)} bytes is larger than the broker takes"
            raise RecordTooLarge("DEPENDENCY_UNAVAILABLE", cause) from error
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, _FATAL):
                await self._renew(producer)
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE",
                f"the broker did not take the record ({type(error).__name__})",
                retry_after=1.0,
            ) from error

    async def ping(self) -> None:
        """Return when the broker answers; for `process.ready_when`."""
        await self._producer.client.fetch_all_metadata()

    async def _start(self) -> None:
        try:
            await self._producer.start()
        except BaseException:
            # A producer that failed to start cannot be started again.
            await self._producer.stop()
            self._producer = self._make()
            raise

    async def _renew(self, broken: AIOKafkaProducer) -> None:
        async with self._renewing:
            if self._producer is not broken:
                return
            _log.warning("producer renewed: its sequence was lost")
            fresh = self._make()
            await fresh.start()
            self._producer = fresh
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await broken.stop()

    async def _mark(self, database: Database) -> None:
        while self._published:
            await asyncio.sleep(_MARK_EVERY)
            ids, self._published = self._published[:_MARK_AT_MOST], self._published[_MARK_AT_MOST:]
            try:
                async with database.transaction_all_tenants() as connection:
                    await outbox.mark(connection, ids)
            except Exception as error:  # noqa: BLE001 - the worker publishes again, consumers know
                _log.warning("outbox rows not marked", rows=len(ids), cause=str(error))

    async def _close(self) -> None:
        await self._departures.close(seconds=_STOP_SECONDS)
        if self._marking is not None:
            await asyncio.wait((self._marking,), timeout=_STOP_SECONDS)
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._producer.stop()

    def _make(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            client_id=self._settings.name,
            security_protocol="SSL",
            ssl_context=self._identity.context,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            request_timeout_ms=_REQUEST_MS,
            retry_backoff_ms=100,
            metadata_max_age_ms=60_000,
        )
