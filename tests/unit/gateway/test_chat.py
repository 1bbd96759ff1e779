"""OpenAI's chat completions: what is taken, what is refused and how it is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.gateway import chat
from services.gateway.errors import InvalidParameter, UnknownParameter, UnreadableBody, UnsupportedParameter

HEAD = chat.Head(identity="chatcmpl-1", created=1, model="guide")
HELLO = {"role": "user", "content": "Hello"}


def parse(**fields: Any) -> chat.ChatRequest:
    return chat.parse_chat(json.dumps({"model": "guide", "messages": [HELLO], **fields}).encode())


def test_a_minimal_body_is_taken_with_its_defaults() -> None:
    request = parse()
    assert (request.model, request.stream, request.max_tokens) == ("guide", False, 0)
    assert request.messages == (chat.ChatMessage(role="user", text="Hello"),)
    assert request.temperature is None
    assert request.stop == ()


def test_every_honoured_parameter_is_read() -> None:
    request = parse(
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=5,
        max_completion_tokens=7,
        temperature=0,
        top_p=0.5,
        seed=3,
        stop=["a", "b"],
    )
    assert request.stream
    assert request.include_usage
    assert (request.max_tokens, request.temperature, request.top_p) == (7, 0.0, 0.5)
    assert (request.seed, request.stop) == (3, ("a", "b"))


def test_text_parts_are_joined_and_developer_speaks_as_system() -> None:
    parts = [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]
    request = parse(
        messages=[{"role": "developer", "content": "Be brief"}, {"role": "user", "content": parts}]
    )
    assert [(m.role, m.text) for m in request.messages] == [("system", "Be brief"), ("user", "Hello")]


@pytest.mark.parametrize(
    "neutral",
    [
        {"n": 1},
        {"n": None},
        {"tools": []},
        {"tool_choice": "auto"},
        {"frequency_penalty": 0.0},
        {"logit_bias": {}},
        {"response_format": {"type": "text"}},
        {"user": "u"},
        {"store": True},
    ],
)
def test_a_parameter_that_asks_for_nothing_special_is_taken(neutral: dict[str, Any]) -> None:
    assert parse(**neutral).model == "guide"


@pytest.mark.parametrize(
    ("unsupported", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"audio": {}}, "audio"),
    ],
)
def test_a_parameter_that_no_model_serves_is_refused_by_name(unsupported: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        parse(**unsupported)
    assert raised.value.param == param
    assert raised.value.violations[0].field == param


def test_an_unknown_parameter_is_refused_by_name() -> None:
    with pytest.raises(UnknownParameter, match="temprature"):
        parse(temprature=1)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
        ),
        ({"messages": [HELLO, {"role": "assistant", "content": "x"}]}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": 1}, "stream_options"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": {}}, "stop"),
    ],
)
def test_a_wrong_value_is_refused_by_name(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse(**wrong)
    assert raised.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableBody):
        chat.parse_chat(body)


def test_a_completion_has_openai_s_shape() -> None:
    body = json.loads(
        chat.completion(
            HEAD,
            text="Hi\u2028",
            finish="stop",
            usage=chat.Usage(prompt=2, completion=3),
            soma={"turn_id": "trn_1"},
        )
    )
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hi\u2028", "refusal": None}
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def test_a_chunk_with_usage_alone_has_no_choices() -> None:
    raw = chat.chunk(HEAD, delta=None, usage=chat.Usage(prompt=1, completion=1))
    assert raw.startswith(b"data: ")
    assert raw.endswith(b"\n\n")
    assert json.loads(raw[6:])["choices"] == []


def test_a_failure_in_mid_stream_is_an_error_event() -> None:
    error = json.loads(chat.failure(reason="MODEL_UNAVAILABLE", message="gone")[6:])["error"]
    assert error == {"message": "gone", "type": "server_error", "param": None, "code": "model_unavailable"}


@pytest.mark.parametrize(
    "body", [b'{"model": "\\ud800"}', b'{"\\uDfff": 1}', b'{"messages": [{"role": "\\udc00"}]}']
)
def test_half_a_surrogate_pair_is_no_character(body: bytes) -> None:
    with pytest.raises(UnreadableBody):
        chat.parse_chat(body)


def test_a_whole_surrogate_pair_is_one() -> None:
    content = "\U0001f600"
    assert parse(messages=[{"role": "user", "content": content}]).messages[0].text == content


@pytest.mark.parametrize("role", [[], {}, ["user"], 5, None])
def test_a_role_of_another_type_is_refused_by_name(role: Any) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse(messages=[{"role": role, "content": "Hello"}])
    assert refused.value.param == "messages[0].role"
