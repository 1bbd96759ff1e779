"""Collections: create, delete, list, describe; and the server's own version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from mesh.stack.vectors.collections import Collections
from mesh.stack.vectors.errors import only
from mesh.stack.vectors.protocol import messages as q
from mesh.stack.vectors.schema import collection_config, payload_schema


def health_check(_: Collections, request: q.HealthCheckRequest) -> q.HealthCheckReply:
    """Tell what serves; the version is that of the protocol."""
    only(request)
    return q.HealthCheckReply(title="soma vectors (qdrant-edge)", version=version("qdrant-client"))


def create(collections: Collections, request: q.CreateCollection) -> q.CollectionOperationResponse:
    """Make a collection."""
    collections.create(request)
    return q.CollectionOperationResponse(result=True)


def delete(collections: Collections, request: q.DeleteCollection) -> q.CollectionOperationResponse:
    """Remove a collection with its points."""
    return q.CollectionOperationResponse(result=collections.delete(only(request).collection_name))


def listing(collections: Collections, request: q.ListCollectionsRequest) -> q.ListCollectionsResponse:
    """List the collections."""
    only(request)
    return q.ListCollectionsResponse(
        collections=[q.CollectionDescription(name=name) for name in collections.names]
    )


def exists(collections: Collections, request: q.CollectionExistsRequest) -> q.CollectionExistsResponse:
    """Tell whether a collection exists."""
    found = only(request).collection_name in collections
    return q.CollectionExistsResponse(result=q.CollectionExists(exists=found))


def describe(collections: Collections, request: q.GetCollectionInfoRequest) -> q.GetCollectionInfoResponse:
    """Describe a collection."""
    collection = collections.get(only(request).collection_name)
    info = collection.shard.info()
    return q.GetCollectionInfoResponse(
        result=q.CollectionInfo(
            status=q.CollectionStatus.Green,
            optimizer_status=q.OptimizerStatus(ok=True),
            config=collection_config(collection.config),
            payload_schema=payload_schema(info),
            segments_count=info.segments_count,
            points_count=info.points_count,
            indexed_vectors_count=info.indexed_vectors_count,
        )
    )


HANDLERS: Final[Mapping[str, Callable[[Collections, Any], Any]]] = {
    "qdrant.Qdrant/HealthCheck": health_check,
    "qdrant.Collections/Create": create,
    "qdrant.Collections/Delete": delete,
    "qdrant.Collections/List": listing,
    "qdrant.Collections/CollectionExists": exists,
    "qdrant.Collections/Get": describe,
}
