"""Reads: queries, scrolling, counting, facets, points by id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import qdrant_edge as edge

from mesh.stack.vectors import filters
from mesh.stack.vectors.collections import Collection, Collections
from mesh.stack.vectors.conversion import (
    finite,
    id_message,
    payload_selector,
    point_id,
    retrieved,
    scored,
    sparse,
    vector,
    vectors_selector,
)
from mesh.stack.vectors.errors import invalid, missing, only, optional, unimplemented, which
from mesh.stack.vectors.protocol import messages as q

DEFAULT_LIMIT: Final = 10
DEFAULT_RRF_K: Final = 2


def _limit(message: Any) -> int:
    if message.HasField("limit") and message.limit == 0:
        raise invalid("limit: value 0 invalid, must be 1 or larger")
    return int(optional(message, "limit") or DEFAULT_LIMIT)


def _params(message: Any) -> edge.SearchParams | None:
    if not message.HasField("params"):
        return None
    params = only(message.params, "hnsw_ef", "exact", "indexed_only", "idf")
    idf = None
    if params.HasField("idf"):
        idf = edge.IdfParams(filters.read_optional(only(params.idf, "corpus"), "corpus"))
    return edge.SearchParams(
        hnsw_ef=optional(params, "hnsw_ef"),
        exact=params.exact,
        indexed_only=params.indexed_only,
        idf=idf,
    )


def _order(message: q.OrderBy) -> edge.OrderBy:
    only(message, "key", "direction", "start_from")
    start = None
    if message.HasField("start_from"):
        kind, start = which(message.start_from, "value")
        start = start.ToJsonString() if kind == "timestamp" else start
    down = message.direction == q.Direction.Desc
    return edge.OrderBy(message.key, edge.Direction.Desc if down else edge.Direction.Asc, start)


def _resolved(collection: Collection, message: q.VectorInput, using: str, excluded: set[Any]) -> Any:
    """Read a query's vector; a point's id stands for its vector and is left out of the answer."""
    kind, content = which(message, "variant")
    if kind != "id":
        return collection_vector(collection, message, using)
    identifier = point_id(content)
    rows = collection.shard.retrieve([identifier], False, [using] if using else True)
    if not rows:
        raise missing(f"No point with id {identifier} found")
    found: Any = rows[0].vector
    found = found.get(using) if isinstance(found, dict) else found
    if found is None:
        raise invalid(f"point {identifier} has no vector '{using}'")
    excluded.add(identifier)
    return found


def collection_vector(collection: Collection, message: q.VectorInput, using: str) -> Any:
    """Read a query's vector that fits the vector of that name."""
    content = vector(message)
    rows = isinstance(content, list) and bool(content) and isinstance(content[0], list)
    if not rows:
        collection.checked({using: content})
    return content


def _scoring(collection: Collection, message: Any, excluded: set[Any]) -> Any:
    """Read what a query ranks by; None lists points by id."""
    if not message.HasField("query"):
        return None
    kind, content = which(message.query, "variant")
    using = optional(message, "using")
    match kind:
        case "nearest":
            found = _resolved(collection, content, message.using, excluded)
            return edge.Query.Nearest(found, using)
        case "nearest_with_mmr":
            mmr = only(only(content, "nearest", "mmr").mmr, "diversity", "candidates_limit")
            diversity = mmr.diversity if mmr.HasField("diversity") else 0.5
            candidates = optional(mmr, "candidates_limit") or _limit(message)
            found = _resolved(collection, content.nearest, message.using, excluded)
            return edge.Mmr(found, 1 - diversity, candidates, using)
        case "fusion" if content == q.Fusion.DBSF:
            return edge.Fusion.Dbsf()
        case "fusion":
            return edge.Fusion.Rrf(k=DEFAULT_RRF_K)
        case "rrf":
            k = optional(only(content, "k", "weights"), "k") or DEFAULT_RRF_K
            return edge.Fusion.Rrf(k=k, weights=list(content.weights) or None)
        case "order_by":
            return _order(content)
        case "text":
            only(content, "query", "bm25")
            bm25 = only(content.bm25, "k", "b")
            weights = edge.Bm25Params(optional(bm25, "k"), optional(bm25, "b"))
            return edge.TextQuery(message.using, content.query, weights)
    raise unimplemented(f"Query.{kind}")


def _prefetch(collection: Collection, message: q.PrefetchQuery) -> edge.Prefetch:
    only(message, "prefetch", "query", "using", "filter", "params", "score_threshold", "limit")
    excluded: set[Any] = set()
    query = _scoring(collection, message, excluded)
    return edge.Prefetch(
        limit=_limit(message),
        query=query,
        prefetches=[_prefetch(collection, one) for one in message.prefetch],
        params=_params(message),
        filter=filters.without(filters.read_optional(message), excluded),
        score_threshold=optional(message, "score_threshold"),
    )


_QUERY_FIELDS: Final = (
    *("prefetch", "query", "using", "filter", "params", "score_threshold", "limit", "offset"),
    *("with_vectors", "with_payload"),
)


def _query_request(collection: Collection, message: q.QueryPoints) -> edge.QueryRequest:
    only(message, *_QUERY_FIELDS)
    if message.HasField("using") and not message.HasField("query"):
        raise unimplemented("`using` without a query")
    excluded: set[Any] = set()
    query = _scoring(collection, message, excluded)
    return edge.QueryRequest(
        limit=_limit(message),
        offset=optional(message, "offset"),
        query=query,
        prefetches=[_prefetch(collection, one) for one in message.prefetch],
        params=_params(message),
        filter=filters.without(filters.read_optional(message), excluded),
        score_threshold=optional(message, "score_threshold"),
        with_vector=vectors_selector(message),
        with_payload=payload_selector(message, default=False),
    )


def _wants_vectors(message: Any) -> bool:
    return bool(vectors_selector(message))


def query(collections: Collections, request: q.QueryPoints) -> q.QueryResponse:
    """Rank points."""
    collection = collections.get(request.collection_name)
    found = collection.shard.query(_query_request(collection, request))
    return q.QueryResponse(result=scored(found, with_vectors=_wants_vectors(request)))


def query_batch(collections: Collections, request: q.QueryBatchPoints) -> q.QueryBatchResponse:
    """Rank points by several queries in one pass."""
    collection = collections.get(only(request, "query_points").collection_name)
    queries = [_query_request(collection, one) for one in request.query_points]
    found = collection.shard.query_batch(edge.QueryBatchRequest(queries))
    return q.QueryBatchResponse(
        result=[
            q.BatchResult(result=scored(points, with_vectors=_wants_vectors(one)))
            for points, one in zip(found, request.query_points, strict=True)
        ]
    )


_SEARCH_FIELDS: Final = (
    *("vector", "filter", "limit", "offset", "with_payload", "with_vectors", "params"),
    *("score_threshold", "vector_name", "sparse_indices"),
)


def _search_request(collection: Collection, message: q.SearchPoints) -> edge.QueryRequest:
    only(message, *_SEARCH_FIELDS)
    if message.HasField("sparse_indices"):
        content: Any = sparse(message.sparse_indices.data, message.vector)
    else:
        content = finite(message.vector)
    collection.checked({message.vector_name: content})
    return edge.QueryRequest(
        limit=message.limit,
        offset=optional(message, "offset"),
        query=edge.Query.Nearest(content, optional(message, "vector_name")),
        filter=filters.read_optional(message),
        params=_params(message),
        score_threshold=optional(message, "score_threshold"),
        with_vector=vectors_selector(message),
        with_payload=payload_selector(message, default=False),
    )


def search(collections: Collections, request: q.SearchPoints) -> q.SearchResponse:
    """Find the points nearest to a vector (the older form of `query`)."""
    collection = collections.get(request.collection_name)
    found = collection.shard.query(_search_request(collection, request))
    return q.SearchResponse(result=scored(found, with_vectors=_wants_vectors(request)))


def search_batch(collections: Collections, request: q.SearchBatchPoints) -> q.SearchBatchResponse:
    """Find the points nearest to several vectors (the older form of `query_batch`)."""
    collection = collections.get(only(request, "search_points").collection_name)
    queries = [_search_request(collection, one) for one in request.search_points]
    found = collection.shard.query_batch(edge.QueryBatchRequest(queries))
    return q.SearchBatchResponse(
        result=[
            q.BatchResult(result=scored(points, with_vectors=_wants_vectors(one)))
            for points, one in zip(found, request.search_points, strict=True)
        ]
    )


def get(collections: Collections, request: q.GetPoints) -> q.GetResponse:
    """Give points by their ids."""
    collection = collections.get(only(request, "ids", "with_payload", "with_vectors").collection_name)
    rows = collection.shard.retrieve(
        [point_id(one) for one in request.ids],
        payload_selector(request, default=True),
        vectors_selector(request),
    )
    return q.GetResponse(result=retrieved(rows))


def count(collections: Collections, request: q.CountPoints) -> q.CountResponse:
    """Count points."""
    collection = collections.get(only(request, "filter", "exact").collection_name)
    exact = request.exact if request.HasField("exact") else True
    asked = edge.CountRequest(exact, filters.read_optional(request))
    return q.CountResponse(result=q.CountResult(count=collection.shard.count(asked)))


def scroll(collections: Collections, request: q.ScrollPoints) -> q.ScrollResponse:
    """List points, page by page."""
    known = ("filter", "offset", "limit", "with_payload", "with_vectors", "order_by")
    collection = collections.get(only(request, *known).collection_name)
    if request.HasField("order_by") and request.HasField("offset"):
        raise invalid("an `offset` cannot stand beside `order_by`; use `order_by.start_from`")
    asked = edge.ScrollRequest(
        offset=point_id(request.offset) if request.HasField("offset") else None,
        limit=_limit(request),
        filter=filters.read_optional(request),
        with_payload=payload_selector(request, default=True),
        with_vector=vectors_selector(request),
        order_by=_order(request.order_by) if request.HasField("order_by") else None,
    )
    rows, following = collection.shard.scroll(asked)
    page = q.ScrollResponse(result=retrieved(rows))
    if following is not None:
        page.next_page_offset.CopyFrom(id_message(following))
    return page


def facet(collections: Collections, request: q.FacetCounts) -> q.FacetResponse:
    """Count points by the values of a payload field."""
    collection = collections.get(only(request, "key", "filter", "limit", "exact").collection_name)
    asked = edge.FacetRequest(request.key, _limit(request), request.exact, filters.read_optional(request))
    hits = []
    for hit in collection.shard.facet(asked).hits:
        content: Any = hit.value
        kind = "string_value"
        if isinstance(content, bool):
            kind = "bool_value"
        elif isinstance(content, int):
            kind = "integer_value"
        hits.append(q.FacetHit(value=q.FacetValue(**{kind: content}), count=hit.count))
    return q.FacetResponse(hits=hits)


HANDLERS: Final[Mapping[str, Callable[[Collections, Any], Any]]] = {
    "qdrant.Points/Query": query,
    "qdrant.Points/QueryBatch": query_batch,
    "qdrant.Points/Search": search,
    "qdrant.Points/SearchBatch": search_batch,
    "qdrant.Points/Get": get,
    "qdrant.Points/Count": count,
    "qdrant.Points/Scroll": scroll,
    "qdrant.Points/Facet": facet,
}
