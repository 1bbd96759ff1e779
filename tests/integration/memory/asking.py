"""What the tests ask of memory, and how they see that it was refused."""

from __future__ import annotations

import grpc
import pytest
from soma.errors.v1 import errors_pb2
from soma.memory.v1 import service_pb2

MARKDOWN = """# Harbour rules

## Mooring

A ship moors at the eastern quay when the wind exceeds thirty knots.

## Fees

The fee is forty crowns a night. Sailing vessels pay half.
"""


def document(content: str = MARKDOWN, **more: object) -> service_pb2.IngestDocumentRequest:
    fields: dict[str, object] = {"source": "harbour.md", "media_type": "text/markdown"} | more
    return service_pb2.IngestDocumentRequest(content=content.encode(), **fields)  # type: ignore[arg-type]


async def refused(call: object, *, code: grpc.StatusCode, why: str = "") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code() is code, caught.value.details()
    if why:
        assert errors_pb2.ErrorReason.Value(f"ERROR_REASON_{why}")
        assert why in str(caught.value.trailing_metadata())
