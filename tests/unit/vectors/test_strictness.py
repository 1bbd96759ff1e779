"""The strictness of the vector server, without a server."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stack.vectors import conversion, filters
from mesh.stack.vectors.errors import RefusedError, from_engine, only
from mesh.stack.vectors.protocol import messages as q
from mesh.stack.vectors.server import HANDLERS, RequireKey

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=5))
def test_a_payload_survives_the_wire(content: dict[str, object]) -> None:
    written = q.PointStruct(payload=conversion.payload_message(content))
    assert conversion.payload(q.PointStruct.FromString(written.SerializeToString()).payload) == content


@given(st.uuids() | st.integers(0, 2**64 - 1))
def test_an_id_survives_the_wire(identifier: object) -> None:
    assert conversion.point_id(conversion.id_message(identifier)) == identifier  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(number: float) -> None:
    with pytest.raises(RefusedError, match="finite"):
        conversion.finite([1.0, number])
    with pytest.raises(RefusedError, match="finite"):
        conversion.sparse([1], [number])


@given(st.lists(st.integers(0, 5), max_size=6), st.lists(st.floats(-1, 1), max_size=6))
def test_a_sparse_vector_has_each_index_once_and_as_many_values(
    indices: list[int], values: list[float]
) -> None:
    if len(indices) == len(values) and len(set(indices)) == len(indices):
        conversion.sparse(indices, values)
    else:
        with pytest.raises(RefusedError):
            conversion.sparse(indices, values)


@pytest.mark.parametrize("text", ["", "x", "123e4567-e89b-12d3-a456-42661417400g"])
def test_an_id_that_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        conversion.point_id(q.PointId(uuid=text))


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(RefusedError):
        conversion.point_id(q.PointId())


def nested(depth: int) -> q.Filter:
    found = q.Filter()
    for _ in range(depth):
        found = q.Filter(must=[q.Condition(filter=found)])
    return found


def test_a_filter_that_nests_too_deep_is_refused() -> None:
    filters.read(nested(filters.MAX_DEPTH))
    with pytest.raises(RefusedError, match="deeper"):
        filters.read(nested(filters.MAX_DEPTH + 1))


def test_a_payload_that_nests_too_deep_is_refused() -> None:
    content = q.Value(null_value=q.NullValue.NULL_VALUE)
    for _ in range(conversion.MAX_DEPTH + 2):
        content = q.Value(list_value=q.ListValue(values=[content]))
    with pytest.raises(RefusedError, match="deeper"):
        conversion.value(content)


def test_a_field_that_is_not_known_is_refused_by_its_name() -> None:
    message = q.CountPoints(collection_name="c", exact=True)
    assert only(message, "exact") is message
    with pytest.raises(RefusedError, match=r"CountPoints\.exact"):
        only(message)


def test_every_method_that_is_served_is_one_of_the_protocol() -> None:
    pool = q.QueryPoints.DESCRIPTOR.file.pool
    for path in HANDLERS:
        service, method = path.split("/")
        assert method in pool.FindServiceByName(service).methods_by_name


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Exception("Service runtime error: disk"), "INTERNAL"),
        (Exception("No point with id 7 found"), "NOT_FOUND"),
        (Exception("Wrong input: x"), "INVALID_ARGUMENT"),
        (ValueError("x"), "INVALID_ARGUMENT"),
    ],
)
def test_the_engines_errors_are_told_apart(error: Exception, code: str) -> None:
    assert from_engine(error).code.name == code


def test_a_server_without_a_key_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="empty"):
        RequireKey("")


def test_the_protocol_is_imported_without_the_client() -> None:
    """And a later import of the client is the real one."""
    code = (
        "import sys; from mesh.stack.vectors.protocol import messages;"
        "assert 'pydantic' not in sys.modules and 'httpx' not in sys.modules;"
        "from qdrant_client import AsyncQdrantClient, grpc; assert grpc is messages"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
