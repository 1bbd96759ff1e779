"""Whatever a body holds, the answer is 4xx with a reason that names the field; never 5xx, never a crash."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest

from tests.support.edge import Edge
from tests.support.stack import Stack

SESSION = "/v1/sessions"
DEEP = b'{"input":' * 5000 + b"1" + b"}" * 5000


@pytest.mark.parametrize(
    ("path", "raw", "statuses"),
    [
        (SESSION, b"{", {400}),
        (SESSION, b"", {200, 201, 400}),
        (SESSION, b"\xff\xfe", {400}),
        (SESSION, b"[]", {400}),
        (SESSION, b'{"persona":5}', {400}),
        (SESSION, b'{"persona":{"a":1}}', {400}),
        (SESSION, DEEP, {400}),
        ("/v1/memories", b'{"text":' + b'"' + b"x" * 9000 + b'"}', {400}),
        ("/v1/chat/completions", b"{", {400}),
        ("/v1/chat/completions", DEEP, {400}),
        ("/v1/embeddings", b'{"model":"embed"}', {400}),
    ],
    ids=lambda value: value.decode("latin1")[:20] if isinstance(value, bytes) else None,
)
async def test_a_body_that_cannot_be_read_is_refused(
    edge: Edge, path: str, raw: bytes, statuses: set[int]
) -> None:
    answer = await edge.call("POST", path, raw=raw)
    assert answer.status in statuses, answer
    if answer.status == 400:
        assert answer.body["message" if "message" in answer.body else "error"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (SESSION, {"persona": "NOT A NAME"}, "persona"),
        (SESSION, {"persona": 5}, "persona"),
        (SESSION, {"request_id": "spaces are refused"}, "request_id"),
        (SESSION, {"nosuch": 1}, "nosuch"),
        ("/v1/memories", {}, "text"),
        ("/v1/memories", {"text": ""}, "text"),
        ("/v1/memories", {"text": "x", "labels": {"BAD KEY": "v"}}, "labels"),
        ("/v1/memories:recall", {"query": "x", "limit": 1000}, "limit"),
        ("/v1/memories:recall", {"query": "x", "limit": "many"}, "limit"),
        ("/v1/documents", {"media_type": "image/png", "content": "eA=="}, "media_type"),
        ("/v1/documents", {"media_type": "text/plain", "content": "***"}, "content"),
        ("/v1/keys", {"display_name": "k", "valid_days": -1}, "valid_days"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named(edge: Edge, path: str, body: dict[str, Any], field: str) -> None:
    answer = await edge.post(path, body)
    assert answer.status == 400, answer
    assert field in answer.body["message"] or any(field in name for name in answer.fields), answer


@pytest.mark.parametrize(
    ("path", "field"),
    [("/v1/sessions?page_size=-1", "page_size"), ("/v1/sessions?page_size=x", "page_size"),
     ("/v1/sessions?nosuch=1", "nosuch"), ("/v1/sessions/ses_1", "session_id"),
     ("/v1/sessions?page_token=%00%ff", "page_token")],
)  # fmt: skip
async def test_a_wrong_query_or_path_is_refused(edge: Edge, path: str, field: str) -> None:
    answer = await edge.get(path)
    assert answer.status == 400, (field, answer)


async def test_a_turn_without_input_names_the_field(edge: Edge) -> None:
    session = await edge.session()
    for body in ({}, {"input": {}}, {"input": {"text": ""}}, {"input": {"text": 5}}, {"input": "hi"}):
        answer = await edge.post(f"/v1/sessions/{session}/turns", body)
        assert answer.status == 400, (body, answer)
        assert "input" in answer.body["message"] or "text" in answer.body["message"], (body, answer)


async def test_a_body_of_100_megabytes_is_refused_and_the_edge_goes_on(edge: Edge) -> None:
    body = io.BytesIO(b'{"persona":"' + b"x" * 100_000_000 + b'"}')
    # Refused before it was read to its end: the edge may close while the client still writes.
    with contextlib.suppress(ConnectionError):
        answer = await edge.call("POST", SESSION, raw=body)
        assert answer.status == 413, answer
    assert (await edge.get(SESSION)).status == 200


async def test_an_unknown_route_says_so(edge: Edge) -> None:
    answer = await edge.get("/v1/nosuch")
    assert (answer.status, answer.reason) == (404, "ROUTE_NOT_FOUND")


async def test_nothing_crashed(edge: Edge, stack: Stack) -> None:
    assert (await edge.get("/healthz")).body == {"status": "ok"}
    assert all(process.state == "ready" for process in await stack.processes())
