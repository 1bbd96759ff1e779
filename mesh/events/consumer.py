"""Consumers: each record's effect first, then its offset.

A consumer keeps the order of records with the same key, works on records of
different keys at once up to a bound, and commits explicit offsets below which
every record is done. A record whose handler fails again and again goes to
`<topic>.dlq` with the reason in its headers, and its partition goes on. While a
dependency is down nothing is given up: the record waits and is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Generic

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from mesh.events.attempts import Attempts, Failure, Verdict
from mesh.events.bus import LOST, Bus, RecordTooLarge
from mesh.events.identity import KafkaIdentity
from mesh.events.offsets import Offsets
from mesh.events.rebalance import Rebalance
from mesh.events.records import RECORD_ID, REQUEST_ID, TENANT, Envelope, Event, Record, header_values
from mesh.events.topics import BY_NAME
from mesh.runtime import trace
from mesh.runtime.context import acting_for
from mesh.runtime.errors import ConfigurationError, SomaError
from mesh.runtime.ids import new_id
from mesh.runtime.logging import get_logger
from mesh.runtime.settings import ProcessSettings
from mesh.runtime.telemetry import Tracer, work
from mesh.runtime.waiting import until_up

_log = get_logger(__name__)
_POLL_MS: Final = 500
_HELD_BYTES: Final = 256 * 1024  # so many are handed over at once, however short they were held
_COMMIT_EVERY: Final = 0.5  # a crash repeats at most so much, and handlers know a record's id
_STOP_SECONDS: Final = 3.0
_ERROR_PAUSE: Final = 0.5
_LONGEST_ID: Final = 200
Handler = Callable[[Record[Event]], Awaitable[None]]


class Consumer(Generic[Event]):
    """Reads one topic in one group; `run` is owned by the process."""

    def __init__(
        self,
        settings: ProcessSettings,
        *,
        topic: str,
        group: str,
        message_type: type[Event],
        handler: Handler[Event],
        max_in_flight: int = 32,
        attempts: int = 5,
        session_seconds: float = 3.0,
        ordered: bool = True,
        tracer: Tracer | None = None,
    ) -> None:
        """Prepare the consumer.

        Args:
            settings: the process's; names the broker and the certificate.
            topic: one of `mesh.events.topics`.
            group: begins with the workload's name: the broker allows no other.
            message_type: the protobuf class of the topic's records.
            handler: the effect; must do nothing the second time it sees a record's id.
            max_in_flight: records worked on at once.
            attempts: failures after which a record is given up.
            session_seconds: silence after which the broker gives a member's partitions away.
            tracer: spans each record, where there is a collector.
            ordered: records of one key one after the other; if not, they are begun in their order and
                worked on at once, for a handler that gathers them.

        Raises:
            ConfigurationError: an unknown topic, another message, or a foreign group.
        """
        known = BY_NAME.get(topic)
        if known is None:
            raise ConfigurationError(f"topic {topic} is not in mesh.events.topics")
        if message_type.DESCRIPTOR.full_name != known.message:
            raise ConfigurationError(f"{topic} carries {known.message}, not {message_type}")
        if not group.startswith(settings.workload):
            raise ConfigurationError(f"group {group} must begin with {settings.workload}")
        self._settings = settings
        self._topic = known
        self._group = group
        self._message_type = message_type
        self._handler = handler
        self._tracer = tracer
        self._attempts = Attempts(limit=attempts)
        self._session_ms = int(session_seconds * 1000)
        self._max_in_flight = max_in_flight
        self._ordered = ordered
        self._offsets = Offsets()
        self._lanes: dict[tuple[TopicPartition, bytes], asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._dirty = asyncio.Event()
        self._held = 0
        self._reader: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Consume until cancelled; then let running handlers end, for a bounded time."""
        identity = KafkaIdentity(self._settings.pki_dir)
        async with Bus.open(self._settings) as bus:
            following = asyncio.ensure_future(identity.follow())
            committing = asyncio.ensure_future(self._keep_committing())
            try:
                await until_up(
                    "kafka",
                    lambda: self._join(identity),
                    retry_on=LOST,
                    seconds=self._settings.start_seconds,
                )
                _log.info("consuming", topic=self._topic.name, group=self._group)
                await self._consume(bus)
            finally:
                following.cancel()
                await self._leave()
                committing.cancel()

    async def ping(self) -> None:
        """Return when this member has its share of the group; for `process.ready_when`."""
        if self._reader is None or not self._offsets.assigned:
            raise ConnectionError(f"group {self._group} has not joined yet")

    async def _join(self, identity: KafkaIdentity) -> None:
        held = self._topic.held_seconds
        reader = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            client_id=self._settings.name,
            group_id=self._group,
            security_protocol="SSL",
            ssl_context=identity.context,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=max(250, self._session_ms // 6),
            rebalance_timeout_ms=10_000,
            max_poll_interval_ms=24 * 3_600_000,  # a bounded queue waits as long as it must
            retry_backoff_ms=100,
            request_timeout_ms=10_000,
            fetch_max_wait_ms=int(1000 * held) if held else _POLL_MS,
            fetch_min_bytes=_HELD_BYTES if held else 1,
            metadata_max_age_ms=60_000,
        )
        rebalance = Rebalance(revoked=lambda gone: self._release(reader, gone), assigned=self._offsets.assign)
        reader.subscribe([self._topic.name], listener=rebalance)
        try:
            await reader.start()
        except BaseException:
            await reader.stop()
            raise
        self._reader = reader

    async def _consume(self, bus: Bus) -> None:
        reader = self._reader
        if reader is None:
            return
        while True:
            while self._held >= self._max_in_flight:
                self._room.clear()
                await self._room.wait()
            try:
                batches = await reader.getmany(
                    timeout_ms=_POLL_MS, max_records=self._max_in_flight - self._held
                )
            except KafkaError as error:
                _log.warning("fetch failed", topic=self._topic.name, cause=str(error))
                await asyncio.sleep(_ERROR_PAUSE)
                continue
            for partition, records in batches.items():
                for record in records:
                    self._accept(bus, partition, record)

    def _accept(self, bus: Bus, partition: TopicPartition, record: "ConsumerRecord[bytes, bytes]") -> None:
        if not self._offsets.begin(partition, record.offset):
            return  # revoked, or delivered a second time while the first is at work
        self._held += 1
        lane = (partition, (record.key or b"") if self._ordered else b"%d" % record.offset)
        before = self._lanes.get(lane)
        task = asyncio.ensure_future(self._work(bus, partition, record, before))
        self._lanes[lane] = task

        def ended(done: asyncio.Task[None]) -> None:
            if self._lanes.get(lane) is done:
                del self._lanes[lane]
            self._held -= 1
            self._room.set()

        task.add_done_callback(ended)

    async def _work(
        self,
        bus: Bus,
        partition: TopicPartition,
        record: "ConsumerRecord[bytes, bytes]",
        before: "asyncio.Task[None] | None",
    ) -> None:
        if before is not None:
            await asyncio.wait((before,))
            if before.cancelled():
                return  # the lane was given up: its order must hold on the next owner
        tries = failed = 0
        while (failure := await self._try(record, failed)) is not None:
            tries += 1
            failed += failure.counts
            if failure.verdict is Verdict.POISON and await self._bury(bus, record, failure, failed):
                break
            await asyncio.sleep(self._attempts.pause(tries))
        if self._offsets.end(partition, record.offset):
            self._dirty.set()

    async def _try(self, record: "ConsumerRecord[bytes, bytes]", failed: int) -> Failure | None:
        headers = header_values(record.headers)
        try:
            message = self._message_type.FromString(record.value or b"")
            event = Record(
                id=headers.get(RECORD_ID) or f"{record.topic}-{record.partition}-{record.offset}",
                topic=record.topic,
                key=(record.key or b"").decode("utf-8", "replace"),
                tenant=headers.get(TENANT, ""),
                message=message,
            )
            await self._handle(event, headers)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad record must never leave the loop
            failure = self._attempts.judge(error, failed=failed)
            _log.warning(
                "record failed",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                record=headers.get(RECORD_ID, ""),
                verdict=failure.verdict.name,
                attempt=failed + 1,
                exc_info=None if isinstance(error, SomaError) else error,
                cause=str(error),
            )
            return failure
        return None

    async def _handle(self, event: Record[Event], headers: dict[str, str]) -> None:
        if not event.tenant:
            await self._handler(event)
            return
        with (
            acting_for(
                tenant=event.tenant,
                request_id=headers.get(REQUEST_ID) or new_id("req"),
                trace=trace.parse(headers.get(trace.HEADER)) or trace.new_trace(),
                method=f"{self._topic.name}/{self._group}",
            ),
            work(self._tracer, f"{self._topic.name} process", consumes=True),
        ):
            await self._handler(event)

    async def _bury(
        self, bus: Bus, record: "ConsumerRecord[bytes, bytes]", failure: Failure, failed: int
    ) -> bool:
        """Put a record among the dead letters; False where the broker did not take it."""
        headers = header_values(record.headers)
        dead = Envelope(
            id=headers.pop(RECORD_ID, ""),
            topic=self._topic.dead_letters,
            key=(record.key or b"").decode("utf-8", "replace"),
            tenant=headers.pop(TENANT, ""),
            payload=record.value or b"",
            headers=headers,
        )
        reason = failure.reason
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        more = (
            ("soma-dlq-reason", reason.encode()),
            ("soma-dlq-attempts", str(failed).encode()),
            ("soma-dlq-origin", origin.encode()),
            ("soma-dlq-group", self._group.encode()),
        )
        try:
            await self._send_dead(bus, dead, more)
        except SomaError as error:
            _log.error("dead letter not taken", origin=origin, cause=error.message)
            return False
        _log.error("record given up", origin=origin, reason=reason, record=dead.id)
        return True

    async def _send_dead(self, bus: Bus, dead: Envelope, more: tuple[tuple[str, bytes], ...]) -> None:
        """Send a dead letter; one that its headers make too large goes without what it carried.

        That is still in the topic, at the place that the letter names, as long as the topic keeps it.
        """
        try:
            await bus.send(dead, more=more)
        except RecordTooLarge:
            abridged = (*more, ("soma-dlq-abridged", str(len(dead.payload)).encode()))
            short = replace(
                dead,
                id=dead.id[:_LONGEST_ID],
                key="",
                tenant=dead.tenant[:_LONGEST_ID],
                payload=b"",
                headers={},
            )
            await bus.send(short, more=abridged)

    async def _keep_committing(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_COMMIT_EVERY)
            self._dirty.clear()
            if self._reader is not None:
                await self._commit(self._reader)

    async def _commit(self, reader: AIOKafkaConsumer) -> None:
        done = self._offsets.to_commit()
        if not done:
            return
        try:
            await reader.commit(done)
        except KafkaError as error:
            # The partition moved on: whoever has it now sees the records again, and their ids.
            _log.warning("offsets not committed", topic=self._topic.name, cause=str(error))
        else:
            self._offsets.committed(done)

    async def _release(self, reader: AIOKafkaConsumer, gone: set[TopicPartition]) -> None:
        """Give partitions back: running records end, waiting ones are left to the next owner."""
        tasks = [task for (partition, _), task in self._lanes.items() if partition in gone]
        await _settle(tasks)
        await self._commit(reader)
        self._offsets.release(gone)

    async def _leave(self) -> None:
        reader, self._reader = self._reader, None
        if reader is None:
            return
        await _settle(list(self._lanes.values()))
        await self._commit(reader)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await reader.stop()
        except (KafkaError, TimeoutError) as error:
            _log.warning("group not left", group=self._group, cause=str(error))


async def _settle(tasks: list[asyncio.Task[None]]) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_STOP_SECONDS)
