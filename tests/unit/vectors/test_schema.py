"""What a collection may ask of its vectors."""

from __future__ import annotations

import pytest
import qdrant_edge as edge

from mesh.stack.vectors.errors import RefusedError
from mesh.stack.vectors.protocol import messages as q
from mesh.stack.vectors.schema import engine_config


def asked(**params: object) -> q.CreateCollection:
    """A collection of one dense vector."""
    vector = q.VectorParams(size=4, distance=q.Distance.Cosine, **params)  # type: ignore[arg-type]
    return q.CreateCollection(
        collection_name="some",
        vectors_config=q.VectorsConfig(params_map=q.VectorParamsMap(map={"a": vector})),
    )


@pytest.mark.parametrize("kind", ["Float32", "Float16"])
def test_a_datatype_that_the_engine_honours_reaches_it(kind: str) -> None:
    vectors = engine_config(asked(datatype=q.Datatype.Value(kind))).vectors
    assert vectors is not None
    assert vectors["a"].datatype == getattr(edge.VectorStorageDatatype, kind)


def test_without_a_datatype_the_engine_takes_its_own() -> None:
    vectors = engine_config(asked()).vectors
    assert vectors is not None
    assert vectors["a"].datatype is None


@pytest.mark.parametrize("kind", ["Uint8", "Turbo4"])
def test_a_datatype_that_rounds_meaning_away_is_refused(kind: str) -> None:
    with pytest.raises(RefusedError, match=f"VectorParams.datatype {kind}"):
        engine_config(asked(datatype=q.Datatype.Value(kind)))
