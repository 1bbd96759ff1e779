"""What a collection is made of: vectors and payload indexes, for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import qdrant_edge as edge

from mesh.stack.vectors.errors import invalid, only, optional, unimplemented, which
from mesh.stack.vectors.protocol import messages as q

HNSW: Final[Mapping[str, int]] = MappingProxyType(
    {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
)
# In KB of vectors in a segment. No HNSW is ever built: with a tenant filter it gains nothing at the
# sizes of one machine, and building it holds the GIL for minutes. `optimize()` only reclaims space.
NEVER: Final = 10**9

_DISTANCES: Final[Mapping[int, edge.Distance]] = {
    q.Distance.Cosine: edge.Distance.Cosine,
    q.Distance.Euclid: edge.Distance.Euclid,
    q.Distance.Dot: edge.Distance.Dot,
    q.Distance.Manhattan: edge.Distance.Manhattan,
}
_DATATYPES: Final[Mapping[int, edge.VectorStorageDatatype]] = {
    q.Datatype.Float32: edge.VectorStorageDatatype.Float32,
    q.Datatype.Float16: edge.VectorStorageDatatype.Float16,
}
_SINGLE: Final = ("shard_number", "replication_factor", "write_consistency_factor")
_TEXT: Final = (
    *("tokenizer", "lowercase", "min_token_len", "max_token_len", "phrase_matching", "on_disk"),
    "scoring",
)
_INDEX_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "keyword": ("is_tenant", "on_disk"),
    "integer": ("lookup", "range", "is_principal", "on_disk"),
    "datetime": ("is_principal", "on_disk"),
    "float": ("is_principal", "on_disk"),
    "uuid": ("is_tenant", "on_disk"),
    "bool": ("on_disk",),
    "text": _TEXT,
}


def dense_vectors(request: q.CreateCollection) -> dict[str, q.VectorParams]:
    """Give the parameters of the dense vectors, by name ("" for the one without)."""
    if not request.HasField("vectors_config"):
        return {}
    kind, content = which(request.vectors_config, "config")
    return {"": content} if kind == "params" else dict(content.map)


def _dense(params: q.VectorParams) -> edge.EdgeVectorParams:
    only(params, "size", "distance", "on_disk", "multivector_config", "datatype")
    if params.size == 0 or params.distance not in _DISTANCES:
        raise invalid("vector size and distance are required")
    if params.HasField("datatype") and params.datatype not in _DATATYPES:
        raise unimplemented(f"VectorParams.datatype {q.Datatype.Name(params.datatype)}")
    multi = None
    if params.HasField("multivector_config"):
        multi = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    return edge.EdgeVectorParams(
        params.size,
        _DISTANCES[params.distance],
        on_disk=optional(params, "on_disk"),
        multivector_config=multi,
        datatype=_DATATYPES[params.datatype] if params.HasField("datatype") else None,
    )


def _sparse(params: q.SparseVectorParams) -> edge.EdgeSparseVectorParams:
    only(params, "index", "modifier")
    only(params.index, "full_scan_threshold")
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=optional(params.index, "full_scan_threshold"),
        modifier=edge.Modifier.Idf if params.modifier == q.Modifier.Idf else None,
    )


def engine_config(request: q.CreateCollection) -> edge.EdgeConfig:
    """Turn a CreateCollection into the engine's configuration.

    Raises:
        RefusedError: it asks for something that the engine would not honour.
    """
    known = ("vectors_config", "sparse_vectors_config", "hnsw_config", "on_disk_payload", "metadata")
    only(request, *known, *_SINGLE)
    for name in _SINGLE:
        if request.HasField(name) and getattr(request, name) != 1:
            raise unimplemented(f"CreateCollection.{name} other than 1")
    dense = {name: _dense(params) for name, params in dense_vectors(request).items()}
    sparse = {name: _sparse(params) for name, params in request.sparse_vectors_config.map.items()}
    if not dense and not sparse:
        raise unimplemented("a collection without vectors")
    asked = only(request.hnsw_config, *HNSW)
    hnsw: dict[str, Any] = {n: optional(asked, n) or default for n, default in HNSW.items()}
    return edge.EdgeConfig(
        vectors=dense or None,
        sparse_vectors=sparse or None,
        on_disk_payload=optional(request, "on_disk_payload"),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=NEVER),
        hnsw_config=edge.HnswIndexConfig(**hnsw),
    )


def collection_config(request: q.CreateCollection) -> q.CollectionConfig:
    """Describe a collection the way Qdrant does."""
    on_disk = request.on_disk_payload if request.HasField("on_disk_payload") else True
    params = q.CollectionParams(
        shard_number=1,
        replication_factor=1,
        write_consistency_factor=1,
        on_disk_payload=on_disk,
    )
    if request.HasField("vectors_config"):
        params.vectors_config.CopyFrom(request.vectors_config)
    if request.HasField("sparse_vectors_config"):
        params.sparse_vectors_config.CopyFrom(request.sparse_vectors_config)
    given = request.hnsw_config
    hnsw: dict[str, Any] = {n: optional(given, n) or default for n, default in HNSW.items()}
    return q.CollectionConfig(
        params=params,
        hnsw_config=q.HnswConfigDiff(**hnsw),
        optimizer_config=q.OptimizersConfigDiff(
            deleted_threshold=0.2,
            vacuum_min_vector_number=1000,
            default_segment_number=0,
            indexing_threshold=NEVER,
            flush_interval_sec=60,
        ),
        wal_config=q.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
        metadata=request.metadata,
    )


def payload_schema(info: Any) -> dict[str, q.PayloadSchemaInfo]:
    """Describe the payload indexes that a shard has."""
    return {
        field: q.PayloadSchemaInfo(
            data_type=q.PayloadSchemaType.Value(str(one.data_type).rsplit(".", maxsplit=1)[-1]),
            points=one.points,
        )
        for field, one in info.payload_schema.items()
    }


def index_parameters(message: q.CreateFieldIndexCollection) -> Any:
    """Read what a payload index is made with: a plain type, or a type with parameters."""
    if not message.HasField("field_index_params"):
        name = q.FieldType.Name(message.field_type).removeprefix("FieldType")
        return getattr(edge.PayloadSchemaType, name)
    kind, params = which(message.field_index_params, "index_params")
    kind = kind.removesuffix("_index_params")
    if kind not in _INDEX_FIELDS:
        raise unimplemented(f"parameters of an index of kind {kind}")
    only(params, *_INDEX_FIELDS[kind])
    given: dict[str, Any] = {field.name: content for field, content in params.ListFields()}
    if "tokenizer" in given:
        given["tokenizer"] = getattr(edge.TokenizerType, q.TokenizerType.Name(params.tokenizer))
    if "scoring" in given:
        given["scoring"] = True
    return getattr(edge, f"{kind.capitalize()}IndexParams")(**given)
