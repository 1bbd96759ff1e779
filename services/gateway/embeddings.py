"""OpenAI's embeddings as values (API reference, "Embeddings")."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any

from services.gateway.chat import read_object, text
from services.gateway.errors import InvalidParameter, UnknownParameter, UnsupportedParameter

KNOWN = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
MOST_INPUTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """What an embedding asks for."""

    model: str
    texts: tuple[str, ...]
    base64: bool


def parse_embedding(body: bytes) -> EmbeddingRequest:
    """Read the body of an embedding.

    Raises:
        UnreadableBody, InvalidParameter, UnsupportedParameter, UnknownParameter
    """
    fields = read_object(body)
    for name in fields:
        if name not in KNOWN:
            raise UnknownParameter(name)
    if fields.get("dimensions") is not None:
        raise UnsupportedParameter("dimensions", fields["dimensions"])
    encoding = fields.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise InvalidParameter("encoding_format", "must be float or base64")
    return EmbeddingRequest(model=text(fields, "model"), texts=_texts(fields.get("input")),
                            base64=encoding == "base64")  # fmt: skip


def _texts(value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or not all(isinstance(i, str) and i for i in items):
        raise InvalidParameter("input", "must be a string or a list of strings that are not empty")
    if len(items) > MOST_INPUTS:
        raise InvalidParameter("input", f"must hold at most {MOST_INPUTS} texts")
    return tuple(items)


def answer(*, model: str, vectors: Sequence[Sequence[float]], tokens: int, as_base64: bool) -> bytes:
    """The body that answers; base64 is of little-endian float32."""
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if as_base64 else list(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": model, "usage": usage}).encode()


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(pack(f"<{len(vector)}f", *vector)).decode()
