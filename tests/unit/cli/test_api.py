"""`soma api`: methods by their names, requests from JSON."""

from pathlib import Path

import pytest
from soma.orchestrator.v1.service_pb2 import CreateSessionRequest

from mesh.cli.api import find_method, methods, read_request
from mesh.cli.failures import Exit, Failure

FULL = "soma.orchestrator.v1.Sessions.CreateSession"


@pytest.mark.parametrize(
    "name",
    [
        "Sessions.CreateSession",
        "Sessions/CreateSession",
        "v1.Sessions.CreateSession",
        FULL,
        "soma.orchestrator.v1.Sessions/CreateSession",
        "/soma.orchestrator.v1.Sessions/CreateSession",
    ],
)
def test_a_method_is_found_by_every_spelling(name: str) -> None:
    assert find_method(name).full_name == FULL


@pytest.mark.parametrize("full", sorted(methods()))
def test_every_method_is_found_by_its_full_name(full: str) -> None:
    assert find_method(full).full_name == full


@pytest.mark.parametrize("name", ["", "CreateSession", "Sessions", "Sessions.", "Nothing.CreateSession"])
def test_other_names_are_usage_errors(name: str) -> None:
    with pytest.raises(Failure) as failed:
        find_method(name)
    assert failed.value.code is Exit.USAGE


def test_a_body_is_the_request_in_json(tmp_path: Path) -> None:
    method = find_method(FULL)
    file = tmp_path / "body.json"
    file.write_text('{"persona": "guide"}', encoding="utf-8")
    expected = CreateSessionRequest(persona="guide")
    assert read_request(method, '{"persona": "guide"}') == expected
    assert read_request(method, f"@{file}") == expected
    assert read_request(method, "") == CreateSessionRequest()


@pytest.mark.parametrize("body", ["{", "[]", '{"nosuch": 1}', '{"persona": 7}', "@/nosuch/file"])
def test_a_body_that_is_not_the_request_is_a_usage_error(body: str) -> None:
    with pytest.raises(Failure) as failed:
        read_request(find_method(FULL), body)
    assert failed.value.code is Exit.USAGE


def test_bodies_of_the_openai_edge_go_as_they_are() -> None:
    request = read_request(find_method("OpenAI.CreateChatCompletion"), '{"model": "guide", "x": [1]}')
    assert request.data == b'{"model": "guide", "x": [1]}'  # type: ignore[attr-defined]  # an HttpBody
