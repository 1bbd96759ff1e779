"""What JSON bodies the edge takes: each refusal is a 4xx that names the field."""

from __future__ import annotations

import io

import pytest

from tests.integration.mesh.conftest import Edge

TURNS = "/v1/sessions/ses_1/turns"
DEEP = '{"input":' + '{"text":' * 5000
BROKEN: list[tuple[str, str, str, str]] = [
    ("/v1/sessions", '{"persona": "guide"', "body", "comma or }"),
    ("/v1/sessions", '{"persona": "guide"} x', "body", "behind the object"),
    ("/v1/sessions", "[]", "body", "JSON object"),
    ("/v1/sessions", '"text"', "body", "JSON object"),
    ("/v1/sessions", "persona=guide", "body", "JSON object"),
    ("/v1/sessions", '{"persona" "guide"}', "persona", "colon"),
    ("/v1/sessions", '{"persona": guide}', "persona", "not valid JSON"),
    ("/v1/sessions", '{"persona": "gui', "persona", "within a string"),
    ("/v1/sessions", '{"persona": 5}', "persona", "a string"),
    ("/v1/sessions", '{"persona": true}', "persona", "a string"),
    ("/v1/sessions", '{"persona": ["guide"]}', "persona", "a string"),
    ("/v1/sessions", '{"persona": {"name": "guide"}}', "persona", "a string"),
    ("/v1/sessions", '{"nosuch": 1}', "nosuch", "not a field"),
    (TURNS, '{"input": "hello"}', "input", "an object"),
    (TURNS, '{"input": {"text": "hi", "histroy": []}}', "input.histroy", "not a field"),
    (TURNS, '{"input": {"history": [{"role": 1, "bad": 1}]}}', "input.history[0].bad", "not a field"),
    (TURNS, '{"input": {"history": {"role": 1}}}', "input.history", "a list"),
    (TURNS, '{"options": {"recall": "yes"}}', "options.recall", "true or false"),
    (TURNS, DEEP, "input.text", "a string"),
]
DECIDED_BY_THE_TRANSCODER = [
    ('{"options": {"temperature": "hot"}}', "options.temperature"),
    ('{"options": {"max_tokens": -5}}', "options.max_tokens"),
    ('{"input": {"history": [{"role": "ROLE_NOSUCH"}]}}', "input.history[0].role"),
]
TAKEN = [
    '{"persona": "guide"}',
    '{"persona": null}',
    '{"displayName": "x"}',
    '{"display_name": "\\u00e9\\"\\\\"}',
    "",
    " { } ",
]


def _token(edge: Edge) -> str:
    return edge.issuer.token(
        "sessions.read", "sessions.write", "turns.create", "documents.write", "memories.write"
    )


@pytest.mark.parametrize(("path", "body", "field", "words"), BROKEN, ids=[b[:40] for _, b, *_ in BROKEN])
async def test_broken_body_is_refused_and_the_field_named(
    edge: Edge, path: str, body: str, field: str, words: str
) -> None:
    before = len(edge.upstreams.arrived.calls)
    answer = await edge.call("POST", path, token=_token(edge), data=body)
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")
    violation = answer.body["details"][1]["field_violations"][0]
    assert violation["field"] == field
    assert words in violation["description"]
    assert len(edge.upstreams.arrived.calls) == before


@pytest.mark.parametrize(("body", "field"), DECIDED_BY_THE_TRANSCODER)
async def test_value_out_of_its_type_is_refused_and_the_field_named(
    edge: Edge, body: str, field: str
) -> None:
    answer = await edge.call("POST", TURNS, token=_token(edge), data=body)
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")
    assert field in answer.body["message"]


@pytest.mark.parametrize("body", TAKEN)
async def test_correct_body_is_taken(edge: Edge, body: str) -> None:
    answer = await edge.call("POST", "/v1/sessions", token=_token(edge), data=body)
    assert answer.status == 201, answer


async def test_nesting_without_end_is_refused(edge: Edge) -> None:
    body = '{"labels": {"a": ' + "[" * 100_000
    answer = await edge.call("POST", "/v1/memories", token=_token(edge), data=body)
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")


async def test_unknown_query_parameter_is_refused(edge: Edge) -> None:
    answer = await edge.call("GET", "/v1/sessions/ses_1?nosuch=1", token=_token(edge))
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")
    assert "nosuch" in answer.body["message"]


@pytest.mark.parametrize("size", [1_100_000, 5_000_000, 100_000_000])
async def test_large_body_is_refused(edge: Edge, size: int) -> None:
    body = io.BytesIO(b'{"persona":"' + b"a" * size + b'"}')
    answer = await edge.call("POST", "/v1/sessions", token=_token(edge), data=body)
    assert (answer.status, answer.reason) == (413, "TOO_LARGE")


async def test_large_document_is_taken_and_a_larger_one_refused(edge: Edge) -> None:
    body = b'{"media_type":"text/plain","content":"' + b"a" * 20_000_000 + b'"}'
    taken = await edge.call("POST", "/v1/documents", token=_token(edge), data=io.BytesIO(body))
    assert (taken.status, taken.body["title"]) == (200, "15000000 bytes")
    refused = await edge.call("POST", "/v1/documents", token=_token(edge), data=io.BytesIO(b"a" * 26_000_000))
    assert (refused.status, refused.reason) == (413, "TOO_LARGE")


async def test_error_of_a_service_keeps_its_words(edge: Edge) -> None:
    answer = await edge.call("GET", "/v1/sessions/ses_gone", token=_token(edge))
    assert (answer.status, answer.reason) == (404, "NOT_FOUND")
    assert answer.body["message"] == "session ses_gone does not exist"


async def test_scripts_never_fail(edge: Edge) -> None:
    assert "script log" not in edge.real.log("envoy")
