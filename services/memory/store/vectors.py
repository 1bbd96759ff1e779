"""Vectors in Qdrant: the local server or a cluster, told apart by nothing but the address.

Owns two collections. A point is a memory or a passage: a dense vector of its meaning, a sparse one
of its words, and what searches are narrowed by. The tenant of the call in progress is written into
every point and put into every filter here; what a caller can narrow by is typed (`Narrowing`), so
that nothing it gives can become a filter of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from qdrant_client import AsyncQdrantClient, models
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import RestToGrpc

from mesh.runtime.waiting import until_up
from services.memory.domain.words import Words
from services.memory.errors import index_unavailable
from services.memory.store.tenancy import tenant

DIMENSIONS: Final = 384
MEANING, WORDS = "meaning", "words"
BATCH: Final = 128  # points in a request: the local server takes at most 250, and holds others up meanwhile
# A local server that died is back within a second.
PAUSES: Final = (0.1, 0.2, 0.4, 0.8)
SEARCH_SECONDS: Final = 3.0
WRITE_SECONDS: Final = 15.0
PAGE: Final = 1_000
# Half the bytes of a scan: as near as float32 to four digits of a cosine (docs/adr/0017).
_MEANING: Final = models.VectorParams(
    size=DIMENSIONS, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16
)
_OPTIONS: Final = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.use_local_subchannel_pool": 1,
}
_PASSING: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
Answer = TypeVar("Answer")


class Space(StrEnum):
    """A collection."""

    MEMORIES = "memories"
    PASSAGES = "passages"


_PREFIXES: Final = {Space.MEMORIES: "mem", Space.PASSAGES: "psg"}
_INDEXES: Final = {
    Space.MEMORIES: ("session", "label"),
    Space.PASSAGES: ("document", "label"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What is indexed of a memory or a passage.

    Attributes:
        id: its id, a prefix and a UUID in hex.
        meaning: the embedding, of unit length.
        words: the sparse vector of its words.
        labels: `name=value`.
        session: of a memory; empty elsewhere.
        document: of a passage; empty elsewhere.
    """

    id: str
    meaning: Sequence[float]
    words: Words
    labels: Sequence[str] = ()
    session: str = ""
    document: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What a search keeps to, beside the tenant: all of the labels, one session, some documents."""

    labels: Sequence[str] = ()
    session: str = ""
    documents: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rankings:
    """Ids, nearest first, by meaning and by words."""

    meaning: list[str]
    words: list[str]


EVERYTHING: Final = Narrowing()


def _equals(key: str, value: str) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _own() -> models.Filter:
    """Give the filter that every request carries: the points of the call's tenant."""
    return models.Filter(must=[_equals("tenant", tenant())])


def _narrowed(narrowing: Narrowing) -> models.Filter:
    must: list[models.Condition] = [_equals("tenant", tenant())]
    must += [_equals("label", label) for label in narrowing.labels]
    if narrowing.session:
        must.append(_equals("session", narrowing.session))
    if narrowing.documents:
        some = models.MatchAny(any=list(narrowing.documents))
        must.append(models.FieldCondition(key="document", match=some))
    return models.Filter(must=must)


def _query(
    name: str, vector: messages.VectorInput, *, using: str, kept: messages.Filter, limit: int
) -> messages.QueryPoints:
    return messages.QueryPoints(
        collection_name=name,
        query=messages.Query(nearest=vector),
        using=using,
        filter=kept,
        limit=limit,
    )


def _uuid(identifier: str) -> str:
    return str(uuid.UUID(identifier.rpartition("_")[2]))


def _sparse(words: Words) -> models.SparseVector:
    return models.SparseVector(indices=list(words.indices), values=list(words.weights))


class VectorStore:
    """Points of the tenant of the call in progress."""

    def __init__(self, client: AsyncQdrantClient, *, prefix: str = "") -> None:
        """Use `client`, which the caller closes; `open` makes one."""
        self._client = client
        self._prefix = prefix

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, address: str, *, api_key: str = "", prefix: str = "", start_seconds: float = 60.0
    ) -> AsyncIterator[VectorStore]:
        """Connect, and make the collections where they are missing.

        Args:
            address: `host:port` of Qdrant's gRPC listener, or `https://host:port`.
            api_key: what the server asks for; empty for none.
            prefix: before the names of the collections.
            start_seconds: how long to wait for a server that is still starting.

        Raises:
            DependencyDown: no answer within `start_seconds`.
        """
        store = cls(_client(address, api_key), prefix=prefix)
        try:
            await until_up(
                "qdrant", store._make_collections, retry_on=(grpc.aio.AioRpcError,), seconds=start_seconds
            )
            yield store
        finally:
            await store._client.close()

    async def ping(self) -> None:
        """Return when the server answers; for `process.ready_when`."""
        await self._client.collection_exists(self._name(Space.PASSAGES))

    async def search(
        self,
        space: Space,
        *,
        meaning: Sequence[float],
        words: Words,
        limit: int,
        narrowing: Narrowing = EVERYTHING,
    ) -> Rankings:
        """Rank the tenant's points by meaning and by words, at most `limit` by each.

        How rare a word is, is counted over the tenant's own points: the order of one tenant's
        results tells nothing of another's texts.
        """
        name = self._name(space)
        # The client's own messages: its models would copy every query and every point, 2 ms a search.
        kept = RestToGrpc.convert_filter(_narrowed(narrowing))
        dense = messages.VectorInput(dense=messages.DenseVector(data=meaning))
        queries = [_query(name, dense, using=MEANING, kept=kept, limit=limit)]
        if words.indices:
            sparse = messages.SparseVector(indices=words.indices, values=words.weights)
            query = _query(name, messages.VectorInput(sparse=sparse), using=WORDS, kept=kept, limit=limit)
            query.params.idf.corpus.CopyFrom(RestToGrpc.convert_filter(_own()))
            queries.append(query)
        batch = messages.QueryBatchPoints(collection_name=name, query_points=queries)
        answer = await self._try(lambda: self._client.grpc_points.QueryBatch(batch), SEARCH_SECONDS)
        ranked = [[_id(space, point.id.uuid) for point in one.result] for one in answer.result]
        return Rankings(meaning=ranked[0], words=ranked[1] if len(ranked) > 1 else [])

    async def put(self, space: Space, points: Sequence[Point]) -> None:
        """Write points; they are found when this returns."""
        for start in range(0, len(points), BATCH):
            batch = [
                models.PointStruct(
                    id=_uuid(one.id),
                    vector={MEANING: list(one.meaning), WORDS: _sparse(one.words)},
                    payload=_payload(one),
                )
                for one in points[start : start + BATCH]
            ]
            await self._write(space, batch)

    async def _write(self, space: Space, batch: list[models.PointStruct]) -> None:
        await self._try(lambda: self._client.upsert(self._name(space), batch, wait=True), WRITE_SECONDS)

    async def remove(self, space: Space, ids: Sequence[str]) -> None:
        """Remove points of the tenant; those of others are left alone, whatever the ids."""
        has_id = models.HasIdCondition(has_id=[_uuid(one) for one in ids])
        chosen = models.FilterSelector(filter=models.Filter(must=[_equals("tenant", tenant()), has_id]))
        await self._try(lambda: self._client.delete(self._name(space), chosen, wait=True), WRITE_SECONDS)

    async def ids(self, space: Space) -> AsyncIterator[list[str]]:
        """Give the ids of all points of the tenant, page by page."""
        offset: Any = None
        while True:
            after = offset
            rows, offset = await self._try(
                lambda after=after: self._client.scroll(  # type: ignore[misc]  # bound to this page
                    self._name(space), scroll_filter=_own(), limit=PAGE, offset=after, with_payload=False
                ),
                WRITE_SECONDS,
            )
            yield [_id(space, row.id) for row in rows]
            if offset is None:
                return

    async def tenants(self, space: Space) -> list[str]:
        """Give the names of the tenants that have points: for housekeeping, which has no tenant."""
        found = await self._try(
            lambda: self._client.facet(self._name(space), key="tenant", limit=100_000, exact=True),
            WRITE_SECONDS,
        )
        return [str(hit.value) for hit in found.hits]

    async def drop(self, space: Space) -> None:
        """Remove a collection with the points of all tenants and make it anew: for a rebuild."""
        await self._try(lambda: self._client.delete_collection(self._name(space)), WRITE_SECONDS)
        await self._make_collections()

    async def _try(self, call: Callable[[], Awaitable[Answer]], seconds: float) -> Answer:
        """Call, and again where the server was away for a moment; every call here may be repeated."""
        try:
            async with asyncio.timeout(seconds):
                for pause in PAUSES:
                    try:
                        return await call()
                    except grpc.aio.AioRpcError as error:
                        if error.code() not in _PASSING:
                            raise
                    await asyncio.sleep(pause)
                return await call()
        except TimeoutError as error:
            raise index_unavailable() from error
        except grpc.aio.AioRpcError as error:
            if error.code() in _PASSING:
                raise index_unavailable() from error
            raise

    async def _make_collections(self) -> None:
        for space, keys in _INDEXES.items():
            name = self._name(space)
            if not await self._client.collection_exists(name):
                try:
                    await self._make(name)
                except grpc.aio.AioRpcError as error:  # another replica was faster
                    if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                        raise
            known = (await self._client.get_collection(name)).payload_schema
            owner = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
            if "tenant" not in known:
                await self._client.create_payload_index(name, "tenant", owner)
            for key in keys:
                if key not in known:
                    await self._client.create_payload_index(name, key, models.PayloadSchemaType.KEYWORD)

    async def _make(self, name: str) -> None:
        await self._client.create_collection(
            name,
            vectors_config={MEANING: _MEANING},
            sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )

    def _name(self, space: Space) -> str:
        return f"{self._prefix}{space.value}"


def _payload(point: Point) -> dict[str, Any]:
    payload: dict[str, Any] = {"tenant": tenant()}
    if point.labels:
        payload["label"] = list(point.labels)
    if point.session:
        payload["session"] = point.session
    if point.document:
        payload["document"] = point.document
    return payload


def _id(space: Space, identifier: Any) -> str:
    return f"{_PREFIXES[space]}_{str(identifier).replace('-', '')}"


def _client(address: str, api_key: str) -> AsyncQdrantClient:
    scheme, _, place = address.rpartition("://")
    host, _, port = place.rpartition(":")
    return AsyncQdrantClient(
        host=host,
        grpc_port=int(port),
        prefer_grpc=True,
        https=scheme == "https",
        check_compatibility=False,
        # As a header: the client's own `api_key` warns of every plain connection, also on loopback.
        headers={"api-key": api_key} if api_key else None,
        grpc_options=_OPTIONS,
        timeout=int(WRITE_SECONDS),
    )
