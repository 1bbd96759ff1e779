"""OpenAI's embeddings: what is taken, what is refused, and the two encodings of a vector."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from services.gateway.embeddings import answer, parse_embedding
from services.gateway.errors import InvalidParameter


def parse(**fields: Any) -> Any:
    return parse_embedding(json.dumps({"model": "embed", "input": "a", **fields}).encode())


def test_one_text_and_a_list_of_texts_are_taken() -> None:
    assert parse().texts == ("a",)
    assert parse(input=["a", "b"]).texts == ("a", "b")
    assert parse(encoding_format="base64").base64


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": ["a"] * 257}, "input"),
        ({"model": None}, "model"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 5}, "dimensions"),
        ({"inputs": 1}, "inputs"),
    ],
)
def test_a_wrong_value_is_refused_by_name(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse(**wrong)
    assert raised.value.param == param


def test_both_encodings_hold_the_same_numbers() -> None:
    vectors = [[0.5, -0.25, 1.0]]
    plain = json.loads(answer(model="embed", vectors=vectors, tokens=3, as_base64=False))
    packed = json.loads(answer(model="embed", vectors=vectors, tokens=3, as_base64=True))
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert plain["data"][0]["embedding"] == list(struct.unpack("<3f", raw))
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
