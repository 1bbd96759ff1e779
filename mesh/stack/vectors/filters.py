"""Filters of the protocol, for the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import numpy as np
import qdrant_edge as edge

from mesh.stack.vectors.conversion import point_id
from mesh.stack.vectors.errors import invalid, only, unimplemented, which
from mesh.stack.vectors.protocol import messages as q

MAX_DEPTH: Final = 32
_DEPTH_TEXT: Final = f"a filter is nested deeper than {MAX_DEPTH}"


def _same(number: Any) -> Any:
    return number


def _bounds(message: Any, convert: Callable[[Any], Any] = _same) -> dict[str, Any]:
    only(message, "lt", "gt", "gte", "lte")
    names = ("lt", "gt", "gte", "lte")
    return {name: convert(getattr(message, name)) for name in names if message.HasField(name)}


def _geo(message: q.GeoPoint) -> edge.GeoPoint:
    return edge.GeoPoint(message.lon, message.lat)


def _polygon(message: q.GeoPolygon) -> edge.GeoPolygon:
    outside = [_geo(point) for point in message.exterior.points]
    return edge.GeoPolygon(outside, [[_geo(p) for p in line.points] for line in message.interiors])


_MATCH: Final[Mapping[str, Callable[[Any], Any]]] = {
    "keyword": edge.MatchValue,
    "integer": edge.MatchValue,
    # A plain bool is taken for the integer 0 or 1 and then matches nothing, in silence.
    "boolean": lambda truth: edge.MatchValue(cast("bool", np.bool_(truth))),
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
    "prefix": edge.MatchPrefix,
    "substring": edge.MatchSubstring,
    "keywords": lambda some: edge.MatchAny(list(some.strings)),
    "integers": lambda some: edge.MatchAny(list(some.integers)),
    "except_keywords": lambda some: edge.MatchExcept(list(some.strings)),
    "except_integers": lambda some: edge.MatchExcept(list(some.integers)),
}


def _match(message: q.Match) -> Any:
    kind, content = which(message, "match_value")
    if kind not in _MATCH:
        raise unimplemented(f"Match.{kind}")
    return _MATCH[kind](content)


_PREDICATES: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "match": lambda m: {"match": _match(m)},
    "range": lambda m: {"range": edge.RangeFloat(**_bounds(m))},
    "datetime_range": lambda m: {"range": edge.RangeDateTime(**_bounds(m, lambda time: time.ToJsonString()))},
    "values_count": lambda m: {"values_count": edge.ValuesCount(**_bounds(m))},
    "is_empty": lambda m: {"is_empty": m},
    "is_null": lambda m: {"is_null": m},
    "geo_radius": lambda m: {"geo_radius": edge.GeoRadius(_geo(m.center), m.radius)},
    "geo_bounding_box": lambda m: {
        "geo_bounding_box": edge.GeoBoundingBox(_geo(m.top_left), _geo(m.bottom_right))
    },
    "geo_polygon": lambda m: {"geo_polygon": _polygon(m)},
}


def _field(message: q.FieldCondition) -> edge.FieldCondition:
    only(message, "key", *_PREDICATES)
    names = [field.name for field, _ in message.ListFields() if field.name != "key"]
    if len(names) != 1:  # the engine would look at the first and drop the others
        raise unimplemented(
            f"FieldCondition on '{message.key}' with the predicates {names}: "
            "put each into a condition of its own"
        )
    return edge.FieldCondition(message.key, **_PREDICATES[names[0]](getattr(message, names[0])))


def _condition(message: q.Condition, depth: int) -> Any:
    kind, content = which(message, "condition_one_of")
    match kind:
        case "field":
            return _field(content)
        case "is_empty":
            return edge.IsEmptyCondition(content.key)
        case "is_null":
            return edge.IsNullCondition(content.key)
        case "has_id":
            return edge.HasIdCondition({point_id(one) for one in content.has_id})
        case "has_vector":
            return edge.HasVectorCondition(content.has_vector)
        case "nested":
            return edge.NestedCondition(content.key, read(content.filter, depth + 1))
        case "filter":
            return read(content, depth + 1)
    raise unimplemented(f"Condition.{kind}")


def read(message: q.Filter, depth: int = 0) -> edge.Filter:
    """Read a filter.

    Raises:
        RefusedError: it holds something that the engine would not honour, or nests too deep.
    """
    if depth > MAX_DEPTH:
        raise invalid(_DEPTH_TEXT)
    only(message, "must", "should", "must_not", "min_should")
    parts: dict[str, Any] = {}
    for name in ("must", "should", "must_not"):
        conditions = getattr(message, name)
        if conditions:
            parts[name] = [_condition(one, depth) for one in conditions]
    if message.HasField("min_should"):
        some = only(message.min_should, "conditions", "min_count")
        parts["min_should"] = edge.MinShould(
            [_condition(one, depth) for one in some.conditions], some.min_count
        )
    return edge.Filter(**parts)


def read_optional(message: Any, field: str = "filter") -> edge.Filter | None:
    """Read the filter in a field of a message, if there is one."""
    return read(getattr(message, field)) if message.HasField(field) else None


def without(narrow: edge.Filter | None, excluded: set[Any]) -> edge.Filter | None:
    """Narrow a filter to points that are not excluded."""
    if not excluded:
        return narrow
    must: list[Any] = [] if narrow is None else [narrow]
    return edge.Filter(must=must or None, must_not=[edge.HasIdCondition(excluded)])
