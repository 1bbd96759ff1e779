"""Logs: what is sensitive never stands in them."""

import io
import json

import pytest

from mesh.runtime.accesslog import AccessLog, render
from mesh.runtime.context import CallContext, Principal
from mesh.runtime.contract import service_contracts
from mesh.runtime.hooks import Outcome
from mesh.runtime.logging import REDACTED, redact, redact_text
from mesh.runtime.trace import TraceContext
from tests.support.echo.contract import SERVICE, modules

modules()
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("postgresql://identity:s3cr3t@127.0.0.1:5432/soma", "127.0.0.1:5432", "s3cr3t"),
        ("redis://user:p%40ss@host/0", "redis://user:", "p%40ss"),
        ("authorization: Bearer abc.def", "authorization: Bearer ", "abc.def"),
        (f"token {JWT} expired", "expired", JWT),
    ],
)
def test_credentials_are_taken_out_of_text(text: str, kept: str, gone: str) -> None:
    found = redact_text(text)
    assert kept in found
    assert gone not in found


def test_sensitive_keys_are_taken_out_at_any_depth() -> None:
    found = redact({"outer": [{"api_key": "k", "name": "n"}], "password": "p", "bytes": b"raw", "count": 3})
    assert found == {
        "outer": [{"api_key": REDACTED, "name": "n"}],
        "password": REDACTED,
        "bytes": REDACTED,
        "count": 3,
    }


def a_call(**more: str) -> CallContext:
    principal = Principal('usr"quoted', "user", "ten_a", frozenset(), "tok_1")
    return CallContext(
        method=f"/{SERVICE}/Say",
        request_id="req_1",
        trace=TraceContext("a" * 32, "b" * 16),
        caller="gateway",
        tenant="ten_a",
        principal=principal,
        bearer="the-token",
        **more,
    )


def test_a_line_about_a_call_is_json_without_its_token() -> None:
    import grpc

    line = render(
        ('{"event": "call", ', 0.0, a_call(), Outcome(grpc.StatusCode.NOT_FOUND, 0.0123, "NOT_FOUND"))
    )
    found = json.loads(line)
    assert found["code"] == "NOT_FOUND"
    assert found["ms"] == 12.3
    assert found["subject"] == 'usr"quoted'
    assert found["time"] == "1970-01-01T00:00:00+00:00"
    assert "the-token" not in line


async def test_lines_are_written_together() -> None:
    import grpc

    stream = io.StringIO()
    log = AccessLog(process="memory", stream=stream)
    write = log.writer(service_contracts(SERVICE)["Say"])
    for _ in range(3):
        write(a_call(), Outcome(grpc.StatusCode.OK, 0.001))
    assert stream.getvalue() == ""
    log.flush()
    assert len(stream.getvalue().splitlines()) == 3
    assert {json.loads(line)["process"] for line in stream.getvalue().splitlines()} == {"memory"}
