"""Reads what the platform holds: Postgres, Kafka, Redis, vectors, audit, logs and metrics.

By the servers' own protocols and as their administrators, past every service, so that no service can
cover up what it holds. Nothing is written. `drained` waits until what was begun has ended.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import redis.asyncio as redis
from aiokafka import TopicPartition

from mesh.events.records import RECORD_ID, TENANT, header_values
from mesh.events.topics import TOPICS
from mesh.stack.environment import Environment
from mesh.stack.ports import LOOPBACK, OFFSETS, metrics_offset
from mesh.stack.processes import listener
from mesh.turnlog.reader import entries_of
from tests.chaos.canaries import Spotter
from tests.chaos.held import Chain, Held, Point, Published, Row, Sighting
from tests.chaos.journal import Owner
from tests.chaos.stores import OPERATOR, PAGE, admin, all_points, all_records, bounds, consumer, postgres
from tests.support.edge import Answer, Edge
from tests.support.stack import Stack, Tenant

GROUPS = ("orchestrator", "worker-slm", "worker-projections.audit", "worker-projections.memory")
MEASURED = ("service", "worker", "control-plane")
ENVOY_ADMIN = ("envoy-admin", "envoy-admin-next")
PAUSE = 0.5
COME_BACK_SECONDS = 60.0
NOWHERE: Mapping[TopicPartition, int] = {}

_QUERIES = {
    "sessions": "select * from orchestrator.sessions where tenant = any($1)",
    "turns": "select * from orchestrator.turns where tenant = any($1)",
    "memories": "select * from memory.memories where tenant = any($1)",
    "requests": "select * from memory.requests where tenant = any($1)",
    "documents": """
        select d.id, d.tenant, i.request_id, i.title, i.digest, i.passage_count
        from memory.documents d join memory.ingestions i on i.id = d.ingestion_id where d.tenant = any($1)
    """,
    "passages": """
        select p.id, p.tenant from memory.passages p
        join memory.documents d on d.ingestion_id = p.ingestion_id where p.tenant = any($1)
    """,
    "keys": "select * from identity.api_keys where tenant = any($1)",
    "audit": "select * from audit.records where tenant = any($1)",
}
_TABLES = """
    select t.table_schema, t.table_name, c.column_name is not null
    from information_schema.tables t
    left join information_schema.columns c
        on (c.table_schema, c.table_name, c.column_name) = (t.table_schema, t.table_name, 'tenant')
    where t.table_type = 'BASE TABLE' and t.table_schema not in ('pg_catalog', 'information_schema')
"""
_UNFINISHED = {
    "running turns": "select id from orchestrator.turns where tenant = any($1) and state = 1",
    "memories without a point": "select id from memory.memories where tenant = any($1) and not indexed",
    "points to remove": "select point_id from memory.removals where tenant = any($1)",
    "versions not in force": """
        select i.id from memory.ingestions i left join memory.documents d on d.ingestion_id = i.id
        where i.tenant = any($1) and d.id is null
    """,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A tenant of a run: its canary, and a key that reads its audit log."""

    owner: Owner
    tenant: Tenant


class Holdings:
    """The stores of one stack, as their administrator sees them."""

    def __init__(
        self, stack: Stack, watched: Sequence[Watched], *, since: Mapping[TopicPartition, int] = NOWHERE
    ) -> None:
        """Take the stack and whose things to read; records before `since` are passed over."""
        self._stack = stack
        self._settings = stack.settings
        self._watched = watched
        self._since = since
        self._tenants = [one.tenant.tenant for one in watched]
        self._spotter = Spotter([one.owner for one in watched])

    async def drained(self, *, seconds: float) -> list[str]:
        """Wait until what was begun has ended; give what has not in time."""
        until, clean = time.monotonic() + seconds, 0
        left: list[str] = []
        while clean < 2:  # what a consumer did may itself be a record that is to be consumed
            try:
                left = [*await self._unfinished(), *await self._lag()]
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                left = [f"a store does not answer: {type(error).__name__}"]
            clean = 0 if left else clean + 1
            if left and time.monotonic() > until:
                return left
            if clean < 2:
                await asyncio.sleep(PAUSE)
        return []

    async def read(self, *, unfinished: Sequence[str] = (), more: Sequence[Sighting] = ()) -> Held:
        """Read everything."""
        rows, seen = await self._postgres()
        records, in_topics = await self._kafka()
        logs, in_redis = await self._redis()
        points, in_points = await self._vectors()
        seen += in_topics + in_redis + in_points + list(self._logs()) + await self._metrics() + list(more)
        return Held(
            **rows, chains=await self._chains(), records=records, logs=logs, points=points, sightings=seen,
            versions=frozenset(await self._versions()), unfinished=tuple(unfinished),
        )  # fmt: skip

    async def _unfinished(self) -> list[str]:
        found = []
        async with postgres(self._settings) as connection:
            for what, question in _UNFINISHED.items():
                ids = [row[0] for row in await connection.fetch(question, self._tenants)]
                found += [f"{len(ids)} {what}: {', '.join(ids[:5])}"] if ids else []
            for schema in await _outboxes(connection):
                left = await connection.fetchval(
                    f"select count(*) from {schema}.outbox where tenant = any($1) and published_at is null",
                    self._tenants,
                )
                found += [f"{left} unpublished rows of {schema}.outbox"] if left else []
        return found

    async def _lag(self) -> list[str]:
        readers = {topic.name: _groups_of(topic.consumers) for topic in TOPICS}
        async with consumer(self._settings) as reader, admin(self._settings) as client:
            ends = await bounds(reader)
            committed = {group: await client.list_consumer_group_offsets(group) for group in GROUPS}
        found = []
        for place, (_, end) in ends.items():
            for group in readers.get(place.topic, ()):
                known = committed[group].get(place)
                at = known.offset if known is not None else -1
                if group in _READS.get(place.topic, ()) and at < end:
                    found.append(f"{group} is at {at} of {end} in {place.topic}/{place.partition}")
        return found

    async def _postgres(self) -> tuple[dict[str, Any], list[Sighting]]:
        seen: list[Sighting] = []
        async with (
            postgres(self._settings) as connection,
            connection.transaction(isolation="repeatable_read"),
        ):
            rows: dict[str, Any] = {
                name: tuple(map(dict, await connection.fetch(question, self._tenants)))
                for name, question in _QUERIES.items()
            }
            outbox: list[Row] = []
            for schema in await _outboxes(connection):
                question = f"select *, '{schema}' as schema from {schema}.outbox where tenant = any($1)"
                outbox += map(dict, await connection.fetch(question, self._tenants))
            for schema, table, owned in await connection.fetch(_TABLES):
                tenant = "t.tenant" if owned else "''"
                question = f"select {tenant}, t::text from {schema}.{table} t where t::text ~ $1"
                for owner, text in await connection.fetch(question, self._spotter.pattern):
                    seen += self._spotter.sightings(text, place=f"{schema}.{table}", tenant=owner)
        return rows | {"outbox": tuple(outbox)}, seen

    async def _versions(self) -> list[int]:
        async with postgres(self._settings) as connection:
            return [row[0] for row in await connection.fetch("select version from policy.rule_sets")]

    async def _kafka(self) -> tuple[list[Published], list[Sighting]]:
        found: list[Published] = []
        seen: list[Sighting] = []
        async with consumer(self._settings) as reader:
            async for record in all_records(reader, self._since):
                headers = header_values(record.headers)
                tenant = headers.get(TENANT, "")
                place = f"{record.topic}/{record.partition}@{record.offset}"
                told = b"\n".join([record.value or b"", record.key or b"", repr(headers).encode()])
                seen += self._spotter.sightings(told, place=place, tenant=tenant)
                if tenant in self._tenants:
                    found.append(
                        Published(
                            topic=record.topic, partition=record.partition, offset=record.offset,
                            key=(record.key or b"").decode(), tenant=tenant,
                            id=headers.get(RECORD_ID, ""), value=record.value or b"",
                        )
                    )  # fmt: skip
        return found, seen

    async def _redis(self) -> tuple[dict[str, list[tuple[int, bytes]]], list[Sighting]]:
        logs: dict[str, list[tuple[int, bytes]]] = {}
        seen: list[Sighting] = []
        url = Environment(self._settings).redis_url(OPERATOR)
        async with redis.from_url(url) as client:
            async for raw in client.scan_iter(count=PAGE):
                key = raw.decode()
                tenant = next((one for one in self._tenants if one in key), "")
                content = await _content(client, raw)
                seen += self._spotter.sightings(repr(content), place=f"redis {key}", tenant=tenant)
                if tenant and key.startswith("turnlog:") and isinstance(content, list):
                    logs[key.rpartition(":")[2]] = _log_of(content)
        return logs, seen

    async def _vectors(self) -> tuple[list[Point], list[Sighting]]:
        found: list[Point] = []
        seen: list[Sighting] = []
        async for collection, point in all_points(self._settings):
            payload = point.payload or {}
            tenant = str(payload.get("tenant", ""))
            place = f"point {point.id} of {collection}"
            seen += self._spotter.sightings(json.dumps(payload), place=place, tenant=tenant)
            if tenant in self._tenants:
                kind = "memories" if "memories" in collection else "passages"
                prefix = "mem" if kind == "memories" else "psg"
                identity = f"{prefix}_{str(point.id).replace('-', '')}"
                found.append(Point(collection=kind, id=identity, tenant=tenant))
        return found, seen

    def _logs(self) -> Iterator[Sighting]:
        for path in sorted(self._settings.home.log.iterdir()):
            content = path.read_bytes()
            if not self._spotter.may_be_in(content):
                continue
            for number, line in enumerate(content.splitlines(), start=1):
                yield from self._spotter.sightings(line, place=f"log/{path.name}:{number}")

    async def _metrics(self) -> list[Sighting]:
        seen: list[Sighting] = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            for name, url in await self._metric_pages():
                async with http.get(url) as answer:
                    seen += self._spotter.sightings(await answer.text(), place=f"metrics of {name}")
        return seen

    async def _metric_pages(self) -> list[tuple[str, str]]:
        ports = self._settings.ports
        pages = [("triton", f"http://{ports.address('triton-metrics')}/metrics")]
        for row in await self._stack.processes():
            if row.kind in MEASURED:
                offset = int(row.address.rpartition(":")[2]) - ports.base
                pages.append((row.name, f"http://{LOOPBACK}:{ports.base + metrics_offset(offset)}/metrics"))
        # An Envoy that took another's place has the other port.
        admins = [port for name in ENVOY_ADMIN if (port := ports.base + OFFSETS.get(name, 0)) != ports.base]
        living = [port for port in admins if listener(port) is not None]
        return pages + [("envoy", f"http://{LOOPBACK}:{port}/stats") for port in living]

    async def _chains(self) -> list[Chain]:
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            return [
                await _chain(Edge(http, url=self._stack.edge_url, key=one.tenant.api_key), one.owner.tenant)
                for one in self._watched
            ]


_READS = {
    "slm.requests": ("worker-slm",),
    "slm.responses": ("orchestrator",),
    "audit.records": ("worker-projections.audit",),
    "turns.events": ("worker-projections.memory",),
}


def _groups_of(workloads: Sequence[str]) -> list[str]:
    return [group for group in GROUPS if group.partition(".")[0] in workloads]


async def _chain(edge: Edge, tenant: str) -> Chain:
    ids: list[str] = []
    token = ""
    while True:
        page = await _answered(edge, f"/v1/audit/records?page_size={PAGE}&page_token={token}")
        ids += [one["record"]["id"] for one in page.body.get("records", [])]
        token = page.body.get("next_page_token", "")
        if not token:
            break
    verified = (await _answered(edge, "/v1/audit:verify")).body
    return Chain(
        tenant=tenant, valid=bool(verified.get("valid")), ids=tuple(ids),
        count=int(verified.get("record_count", 0)),
    )  # fmt: skip


async def _answered(edge: Edge, path: str) -> Answer:
    """The answer; one that asks to come back is asked again, within a time."""
    async with asyncio.timeout(COME_BACK_SECONDS):
        while (answer := await edge.get(path)).status == 429:  # noqa: ASYNC110 - the other side has no event
            await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))
    assert answer.status == 200, answer
    return answer


async def _outboxes(connection: asyncpg.Connection) -> list[str]:
    question = "select schemaname from pg_tables where tablename = 'outbox' order by 1"
    return [row[0] for row in await connection.fetch(question)]


async def _content(client: Any, key: bytes) -> Any:
    kind = (await client.type(key)).decode()
    if kind == "stream":
        return await client.execute_command("XRANGE", key, "-", "+")
    readers = {
        "hash": lambda: client.hgetall(key),
        "zset": lambda: client.zrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "list": lambda: client.lrange(key, 0, -1),
        "string": lambda: client.get(key),
    }
    return {kind: await readers[kind]()} if kind in readers else {}


def _log_of(content: list[Any]) -> list[tuple[int, bytes]]:
    flat = ((entry, [part for pair in fields.items() for part in pair]) for entry, fields in content)
    return [(one.seq, one.event) for one in entries_of(flat)]
