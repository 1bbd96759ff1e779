"""What a server's failure is called."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from mesh.inference import errors as failures


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, "maximum context length is 4096 tokens", "CONTEXT_TOO_LONG"),
        (400, "prompt is too long: 210000 tokens", "CONTEXT_TOO_LONG"),
        (413, "context window exceeded", "CONTEXT_TOO_LONG"),
        (400, "bad temperature", "PROVIDER_REFUSED"),
        (401, "key sk-123", "PROVIDER_REFUSED"),
        (403, "", "PROVIDER_REFUSED"),
        (404, "", "MODEL_NOT_FOUND"),
        (408, "", "DEADLINE_EXCEEDED"),
        (429, "", "RATE_LIMITED"),
        (500, "", "MODEL_UNAVAILABLE"),
        (529, "overloaded", "MODEL_UNAVAILABLE"),
        (302, "", "PROVIDER_REFUSED"),
    ],
)
def test_http_statuses(status: int, body: str, reason: str) -> None:
    error = failures.from_http("m", status, body, 3.0)
    assert error.reason == reason
    assert "sk-123" not in error.message
    assert body == "" or body not in error.message


@pytest.mark.parametrize(
    ("code", "details", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "", "MODEL_UNAVAILABLE"),
        (grpc.StatusCode.UNAVAILABLE, "unknown model: 'm' is not found", "MODEL_UNAVAILABLE"),
        (grpc.StatusCode.NOT_FOUND, "", "MODEL_NOT_FOUND"),
        (grpc.StatusCode.INVALID_ARGUMENT, "unknown model: 'm'", "MODEL_NOT_FOUND"),
        (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape", "INVALID_ARGUMENT"),
        (grpc.StatusCode.INTERNAL, "context length", "CONTEXT_TOO_LONG"),
        (grpc.StatusCode.INTERNAL, "Traceback ...", "MODEL_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue", "QUEUE_FULL"),
        (grpc.StatusCode.CANCELLED, "", "MODEL_UNAVAILABLE"),
    ],
)
def test_grpc_statuses(code: grpc.StatusCode, details: str, reason: str) -> None:
    metadata = grpc.aio.Metadata()
    error = failures.from_rpc("m", grpc.aio.AioRpcError(code, metadata, metadata, details, ""))
    assert error.reason == reason
    assert "Traceback" not in error.message
