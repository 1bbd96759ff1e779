"""Ids, vectors, payloads and points, between the protocol and the engine."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import qdrant_edge as edge

from mesh.stack.vectors.errors import invalid, only, unimplemented, which
from mesh.stack.vectors.protocol import messages as q

PointId = int | uuid.UUID
MAX_DEPTH = 32  # protobuf itself refuses a message that is nested a hundred deep


def point_id(message: q.PointId) -> PointId:
    """Read a point's id.

    Raises:
        RefusedError: it is neither a number nor a UUID.
    """
    kind, value = which(message, "point_id_options")
    if kind == "num":
        return int(value)
    try:
        return uuid.UUID(value)
    except ValueError:
        raise invalid(f"Unable to parse UUID: {value}") from None


def id_message(identifier: PointId | str) -> q.PointId:
    """Write a point's id."""
    if isinstance(identifier, int):
        return q.PointId(num=identifier)
    return q.PointId(uuid=str(identifier))


def value(message: q.Value, depth: int = 0) -> Any:
    """Read a payload's value."""
    if depth > MAX_DEPTH:
        raise invalid(f"a payload is nested deeper than {MAX_DEPTH}")
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return payload(message.struct_value.fields, depth + 1)
    if kind == "list_value":
        return [value(one, depth + 1) for one in message.list_value.values]
    return getattr(message, kind)


def payload(fields: Mapping[str, q.Value], depth: int = 0) -> dict[str, Any]:
    """Read a payload."""
    return {key: value(one, depth) for key, one in fields.items()}


def value_message(content: Any) -> q.Value:
    """Write a payload's value."""
    match content:
        case None:
            return q.Value(null_value=q.NullValue.NULL_VALUE)
        case bool():
            return q.Value(bool_value=content)
        case int():
            return q.Value(integer_value=content)
        case float():
            return q.Value(double_value=content)
        case str():
            return q.Value(string_value=content)
        case list():
            return q.Value(list_value=q.ListValue(values=[value_message(one) for one in content]))
        case dict():
            return q.Value(struct_value=q.Struct(fields=payload_message(content)))
    raise TypeError(f"the engine gave a payload value of {type(content).__name__}")


def payload_message(content: Mapping[str, Any]) -> dict[str, q.Value]:
    """Write a payload."""
    return {key: value_message(one) for key, one in content.items()}


def finite(row: Iterable[float]) -> list[float]:
    """Give the row back as a list; the engine would store a NaN and never find the point.

    Raises:
        RefusedError: a number is not finite.
    """
    numbers = list(row)
    if not all(map(math.isfinite, numbers)):
        raise invalid("Wrong input: vector is not finite")
    return numbers


def sparse(indices: Iterable[int], values: Iterable[float]) -> edge.SparseVector:
    """Read a sparse vector.

    Raises:
        RefusedError: lengths differ, an index stands twice, or a value is not finite.
    """
    places, numbers = list(indices), finite(values)
    if len(places) != len(numbers):
        raise invalid("Wrong input: a sparse vector has as many indices as values")
    if len(set(places)) != len(places):
        raise invalid("Wrong input: an index of a sparse vector stands twice")
    return edge.SparseVector(places, numbers)


def vector(message: q.Vector | q.VectorInput) -> Any:
    """Read a vector: a list, a `SparseVector` or a list of lists."""
    if isinstance(message, q.Vector):
        found = message.WhichOneof("vector")
        if found is None:
            return _flat_vector(message)
        kind, content = str(found), getattr(only(message, found), found)
    else:
        kind, content = which(message, "variant")
    if kind == "dense":
        return finite(content.data)
    if kind == "sparse":
        return sparse(content.indices, content.values)
    if kind == "multi_dense":
        return [finite(row.data) for row in content.vectors]
    raise unimplemented(f"inference on the server ({kind}); send vectors")


def _flat_vector(message: q.Vector) -> Any:
    """Read the deprecated form with numbers directly in the message."""
    only(message, "data", "indices", "vectors_count")
    if message.HasField("indices"):
        return sparse(message.indices.data, message.data)
    if message.HasField("vectors_count"):
        length = len(message.data) // max(1, message.vectors_count)
        if length == 0 or length * message.vectors_count != len(message.data):
            raise invalid("Wrong input: vectors_count does not divide the numbers")
        return [finite(message.data[at : at + length]) for at in range(0, len(message.data), length)]
    return finite(message.data)


def vectors(message: q.Vectors) -> Any:
    """Read a point's vectors: the one without a name, or a dictionary."""
    kind, content = which(message, "vectors_options")
    if kind == "vector":
        return vector(content)
    return {name: vector(one) for name, one in content.vectors.items()}


def _vector_message(content: Any) -> q.VectorOutput:
    if isinstance(content, edge.SparseVector):
        return q.VectorOutput(sparse=q.SparseVector(indices=content.indices, values=content.values))
    if content and isinstance(content[0], list):
        rows = [q.DenseVector(data=row) for row in content]
        return q.VectorOutput(multi_dense=q.MultiDenseVector(vectors=rows))
    return q.VectorOutput(dense=q.DenseVector(data=content))


def vectors_message(content: Any) -> q.VectorsOutput:
    """Write a point's vectors."""
    if isinstance(content, dict):
        named = {name: _vector_message(one) for name, one in content.items()}
        return q.VectorsOutput(vectors=q.NamedVectorsOutput(vectors=named))
    return q.VectorsOutput(vector=_vector_message(content))


def _point_fields(point: Any, *, with_vectors: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": id_message(point.id)}
    if point.payload:
        fields["payload"] = payload_message(point.payload)
    if with_vectors and point.vector is not None:
        fields["vectors"] = vectors_message(point.vector)
    if point.order_value is not None:
        kind = "int" if isinstance(point.order_value, int) else "float"
        fields["order_value"] = q.OrderValue(**{kind: point.order_value})
    return fields


def retrieved(points: Iterable[Any]) -> list[q.RetrievedPoint]:
    """Write points that were asked for."""
    return [q.RetrievedPoint(**_point_fields(point, with_vectors=True)) for point in points]


def scored(points: Iterable[Any], *, with_vectors: bool) -> list[q.ScoredPoint]:
    """Write points that were found; an MMR query of the engine gives vectors although not asked to."""
    return [
        q.ScoredPoint(
            score=point.score,
            version=point.version,
            **_point_fields(point, with_vectors=with_vectors),
        )
        for point in points
    ]


def payload_selector(message: Any, *, default: bool) -> Any:
    """Read which part of the payload is asked for."""
    if not message.HasField("with_payload"):
        return default
    kind, content = which(message.with_payload, "selector_options")
    if kind == "enable":
        return content
    build = edge.PayloadSelector.Include if kind == "include" else edge.PayloadSelector.Exclude
    return build(list(content.fields))


def vectors_selector(message: Any) -> bool | list[str]:
    """Read which vectors are asked for."""
    if not message.HasField("with_vectors"):
        return False
    kind, content = which(message.with_vectors, "selector_options")
    return bool(content) if kind == "enable" else list(content.names)
