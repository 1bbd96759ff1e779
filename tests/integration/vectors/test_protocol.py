"""The same answers as Qdrant's own client gives in its local mode, and hybrid search."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client import grpc as messages

from services.memory.domain.words import WordEncoder

SIZE, COUNT = 16, 400
COLORS = ("red", "green", "blue", "dark red")


def payload_of(dice: random.Random, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "color": dice.choice(COLORS),
        "count": dice.randrange(20),
        # A fraction of 64: the engine may read other doubles back one bit off.
        "weight": dice.randrange(64) / 64,
        "sold": dice.random() < 0.5,
        "tags": dice.sample(COLORS, dice.randrange(4)),
        "made": f"2026-{dice.randrange(1, 13):02}-0{dice.randrange(1, 10)}T00:00:00Z",
        "deep": {"inner": [{"name": dice.choice(COLORS), "size": dice.randrange(5)}]},
    }
    if number % 7 == 0:
        del found["color"]
    if number % 11 == 0:
        found["count"] = None
    return found


def points() -> list[models.PointStruct]:
    dice = random.Random(7)
    return [
        models.PointStruct(
            id=number if number % 2 else str(uuid.UUID(int=number)),
            vector=[dice.gauss(0, 1) for _ in range(SIZE)],
            payload=payload_of(dice, number),
        )
        for number in range(COUNT)
    ]


def condition(dice: random.Random, depth: int) -> models.Condition:
    match = models.FieldCondition
    kinds: list[models.Condition] = [
        match(key="color", match=models.MatchValue(value=dice.choice(COLORS))),
        match(key="count", match=models.MatchValue(value=dice.randrange(20))),
        match(key="sold", match=models.MatchValue(value=dice.random() < 0.5)),
        match(key="tags", match=models.MatchAny(any=dice.sample(COLORS, 2))),
        match(key="color", match=models.MatchExcept(**{"except": dice.sample(COLORS, 2)})),
        match(key="weight", range=models.Range(gte=dice.random() / 2, lt=0.5 + dice.random() / 2)),
        match(key="made", range=models.DatetimeRange(gte="2026-05-01T00:00:00Z")),
        match(key="deep.inner[].name", match=models.MatchValue(value=dice.choice(COLORS))),
        match(key="tags", values_count=models.ValuesCount(gte=dice.randrange(3))),
        models.HasIdCondition(has_id=[dice.randrange(COUNT) for _ in range(20)]),
        models.IsEmptyCondition(is_empty=models.PayloadField(key="color")),
        models.IsNullCondition(is_null=models.PayloadField(key="count")),
    ]
    if depth:
        kinds += [random_filter(dice, depth - 1), random_filter(dice, depth - 1)]
    return dice.choice(kinds)


def random_filter(dice: random.Random, depth: int = 2) -> models.Filter:
    parts = {
        name: [condition(dice, depth) for _ in range(dice.randrange(1, 3))]
        for name in ("must", "should", "must_not")
        if dice.random() < 0.6
    }
    return models.Filter(**parts) if parts else models.Filter(must=[condition(dice, 0)])


@pytest.fixture(scope="module")
async def filled(client: AsyncQdrantClient) -> AsyncIterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    params = models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
    await client.create_collection(name, vectors_config=params)
    for start in range(0, COUNT, 100):
        await client.upsert(name, points()[start : start + 100], wait=True)
    yield name
    await client.delete_collection(name)


@pytest.fixture(scope="module")
def reference() -> QdrantClient:
    own = QdrantClient(":memory:")
    params = models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
    own.create_collection("reference", vectors_config=params)
    own.upsert("reference", points())
    return own


@pytest.mark.parametrize("indexed", [False, True])
async def test_filters_find_what_qdrants_local_mode_finds(
    client: AsyncQdrantClient, filled: str, reference: QdrantClient, indexed: bool
) -> None:
    if indexed:
        kinds = {
            "color": "keyword",
            "count": "integer",
            "sold": "bool",
            "weight": "float",
            "made": "datetime",
        }
        for key, kind in kinds.items():
            await client.create_payload_index(filled, key, models.PayloadSchemaType(kind))
    dice = random.Random(11)
    for _ in range(80):
        kept = random_filter(dice)
        query = [dice.gauss(0, 1) for _ in range(SIZE)]
        ours = (await client.query_points(filled, query, query_filter=kept, limit=20)).points
        theirs = reference.query_points("reference", query, query_filter=kept, limit=20).points
        assert [one.id for one in ours] == [one.id for one in theirs], kept
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-5)
        assert [one.payload for one in ours] == [one.payload for one in theirs]
        assert (await client.count(filled, kept)).count == reference.count("reference", kept).count


async def test_scrolling_pages_through_everything_once(client: AsyncQdrantClient, filled: str) -> None:
    seen: list[Any] = []
    offset: Any = None
    while True:
        rows, offset = await client.scroll(filled, limit=37, offset=offset, with_payload=False)
        seen += [row.id for row in rows]
        if offset is None:
            break
    assert len(seen) == len(set(seen)) == COUNT


async def test_writes_change_what_they_name_and_nothing_else(client: AsyncQdrantClient) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    params = models.VectorParams(size=2, distance=models.Distance.DOT)
    await client.create_collection(name, vectors_config=params)
    try:
        rows = [models.PointStruct(id=n, vector=[n, 1.0], payload={"n": n}) for n in range(6)]
        await client.upsert(name, rows)
        await client.set_payload(name, {"new": True}, points=[1, 2])
        await client.overwrite_payload(name, {"only": 1}, points=[3])
        await client.delete_payload(name, ["n"], points=[2])
        await client.clear_payload(name, [4])
        await client.update_vectors(name, [models.PointVectors(id=5, vector=[9.0, 9.0])])
        await client.delete(
            name, models.FilterSelector(filter=models.Filter(must=[models.HasIdCondition(has_id=[0])]))
        )
        found = {one.id: one for one in await client.retrieve(name, list(range(6)), with_vectors=True)}
    finally:
        await client.delete_collection(name)
    assert {n: one.payload for n, one in found.items()} == {
        1: {"n": 1, "new": True},
        2: {"new": True},
        3: {"only": 1},
        4: {},
        5: {"n": 5},
    }
    assert found[5].vector == [9.0, 9.0]


async def test_words_are_as_rare_as_they_are_in_the_tenants_own_points(client: AsyncQdrantClient) -> None:
    """Another tenant's texts must not change the order of this one's."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    encoder = WordEncoder()
    await client.create_collection(
        name,
        vectors_config={},
        sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )

    async def put(owner: str, *texts: str) -> None:
        rows = []
        for text in texts:
            words = encoder.text(text)
            vector = {"words": models.SparseVector(indices=list(words.indices), values=list(words.weights))}
            rows.append(models.PointStruct(id=str(uuid.uuid4()), vector=vector, payload={"tenant": owner}))
        await client.upsert(name, rows)

    async def scores() -> list[float]:
        words = encoder.query("harbour fee")
        kept = models.Filter(must=[models.FieldCondition(key="tenant", match=models.MatchValue(value="a"))])
        found = await client.query_points(
            name,
            models.SparseVector(indices=list(words.indices), values=list(words.weights)),
            using="words",
            query_filter=kept,
            search_params=models.SearchParams(idf=models.IdfCorpusParams(corpus=kept)),
        )
        return [one.score for one in found.points]

    try:
        await put("a", "the harbour is old", "a harbour and a fee", "the fee is high", "a sunny day")
        before = await scores()
        await put("b", *(f"harbour number {number}" for number in range(50)))
        assert before
        assert await scores() == before
    finally:
        await client.delete_collection(name)


@pytest.mark.parametrize(
    "fusion", [models.FusionQuery(fusion=models.Fusion.RRF), models.RrfQuery(rrf=models.Rrf(k=20))]
)
async def test_rankings_are_fused_by_reciprocal_rank(
    client: AsyncQdrantClient, filled: str, fusion: Any
) -> None:
    dice = random.Random(3)
    vectors = [[dice.gauss(0, 1) for _ in range(SIZE)] for _ in range(2)]
    alone = [[one.id for one in (await client.query_points(filled, v, limit=10)).points] for v in vectors]
    fused = await client.query_points(
        filled, prefetch=[models.Prefetch(query=v, limit=10) for v in vectors], query=fusion, limit=20
    )
    assert {one.id for one in fused.points} == {*alone[0], *alone[1]}
    scores = [one.score for one in fused.points]
    assert scores == sorted(scores, reverse=True)


async def refused(call: Any, code: grpc.StatusCode, text: str = "") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value.details()
    assert text in (caught.value.details() or "")


async def test_a_vector_of_another_size_is_refused_and_nothing_is_applied(
    client: AsyncQdrantClient, filled: str
) -> None:
    rows = [
        models.PointStruct(id=9_001, vector=[1.0] * SIZE),
        models.PointStruct(id=9_002, vector=[1.0] * (SIZE + 1)),
    ]
    await refused(client.upsert(filled, rows, wait=True), grpc.StatusCode.INVALID_ARGUMENT)
    await refused(client.query_points(filled, [1.0] * (SIZE + 1)), grpc.StatusCode.INVALID_ARGUMENT)


async def test_what_is_missing_is_not_found(client: AsyncQdrantClient) -> None:
    await refused(client.count("nosuch"), grpc.StatusCode.NOT_FOUND)
    assert not await client.collection_exists("nosuch")


async def test_no_other_field_is_dropped_in_silence(server: Any) -> None:
    async with server.client() as client:
        params = models.VectorParams(size=2, distance=models.Distance.DOT)
        await client.create_collection("c", vectors_config=params)
        await client.upsert("c", [models.PointStruct(id=1, vector=[1.0, 0.0])])
        stub, kept = client.grpc_points, grpc.StatusCode.UNIMPLEMENTED
        dense = messages.VectorInput(dense=messages.DenseVector(data=[1.0, 0.0]))
        search = messages.QueryPoints(collection_name="c", query=messages.Query(nearest=dense))
        search.params.quantization.ignore = True
        await refused(stub.Query(search), kept, "quantization")
        two = messages.FieldCondition(key="k", match=messages.Match(keyword="a"), range=messages.Range(lt=1))
        both = messages.CountPoints(
            collection_name="c", filter=messages.Filter(must=[messages.Condition(field=two)])
        )
        await refused(stub.Count(both), kept, "predicates")
        newer = messages.CountPoints(collection_name="c").SerializeToString() + b"\xf8\x3f\x01"
        await refused(stub.Count(messages.CountPoints.FromString(newer)), kept, "newer")
        await refused(client.query_points_groups("c", group_by="k", query=[1.0, 0.0]), kept)
        await refused(client.create_collection("d", vectors_config=params, shard_number=3), kept)
        many = [models.PointStruct(id=n, vector=[1.0, 0.0]) for n in range(251)]
        await refused(client.upsert("c", many), grpc.StatusCode.INVALID_ARGUMENT, "250")
        nothing = [models.PointStruct(id=2, vector=[float("nan"), 0.0])]
        await refused(client.upsert("c", nothing), grpc.StatusCode.INVALID_ARGUMENT, "finite")
