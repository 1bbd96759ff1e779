"""OpenAI's chat completions as values: what a body asks for, and the bodies that answer.

Shapes: OpenAI API reference, "Chat Completions" (object, chunk object, usage,
error). A parameter that this server cannot honour is refused by name; none is
dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.gateway.errors import InvalidParameter, UnknownParameter, UnreadableBody, UnsupportedParameter

Json = Mapping[str, Any]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
HONOURED = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens",
     "temperature", "top_p", "seed", "stop"}
)  # fmt: skip
WITHOUT_EFFECT_HERE = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
)
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "reasoning_effort": (None,),
    "verbosity": (None,),
    "web_search_options": (None,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message; `role` is system, user or assistant."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a chat completion asks for."""

    model: str
    messages: tuple[ChatMessage, ...]
    stream: bool
    include_usage: bool
    max_tokens: int
    temperature: float | None
    top_p: float | None
    seed: int | None
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a completion."""

    prompt: int
    completion: int

    def json(self) -> Json:
        """OpenAI's `usage` object."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        UnreadableBody: it is not JSON, is nested too deeply, is not an object, or holds no characters.
    """
    try:
        value = json.loads(body)
    except RecursionError:
        raise UnreadableBody("is nested too deeply") from None
    except ValueError as error:
        raise UnreadableBody(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UnreadableBody("is not a JSON object")
    if b"\\ud" in body.lower():
        _must_be_unicode(value)
    return value


def _must_be_unicode(value: Json) -> None:
    """Refuse half of a surrogate pair: JSON can name it, UTF-8 cannot (RFC 8259, section 8.2)."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UnreadableBody("holds half of a surrogate pair, which is no character") from None


def parse_chat(body: bytes) -> ChatRequest:
    """Read the body of a chat completion.

    Raises:
        UnreadableBody, InvalidParameter, UnsupportedParameter, UnknownParameter
    """
    fields = read_object(body)
    _refuse_what_is_not_honoured(fields)
    messages = tuple(
        _message(item, f"messages[{index}]") for index, item in enumerate(_list(fields, "messages"))
    )
    if not messages or messages[-1].role != "user":
        raise InvalidParameter("messages", "must end with a message of role user")
    options = {} if fields.get("stream_options") is None else fields["stream_options"]
    if not isinstance(options, dict):
        raise InvalidParameter("stream_options", "must be an object")
    return ChatRequest(
        model=text(fields, "model"),
        messages=messages,
        stream=_flag(fields, "stream"),
        include_usage=bool(options.get("include_usage")),
        max_tokens=_max_tokens(fields),
        temperature=_number(fields, "temperature", 0.0, 2.0),
        top_p=_number(fields, "top_p", 0.0, 1.0),
        seed=_integer(fields, "seed", 0, 2**32 - 1),
        stop=_stop(fields.get("stop")),
    )


def _refuse_what_is_not_honoured(fields: Json) -> None:
    for name, value in fields.items():
        if name in NEUTRAL:
            if not any((value == neutral and type(value) is type(neutral)) or value == neutral == 0
                       for neutral in NEUTRAL[name]):  # fmt: skip
                raise UnsupportedParameter(name, value)
        elif name not in HONOURED and name not in WITHOUT_EFFECT_HERE:
            raise UnknownParameter(name)


def _message(item: Any, where: str) -> ChatMessage:
    if not isinstance(item, dict):
        raise InvalidParameter(where, "must be an object")
    role = item.get("role")
    if not isinstance(role, str):
        raise InvalidParameter(f"{where}.role", f"must be one of {', '.join(ROLES)}")
    if role in {"tool", "function"} or item.get("tool_calls"):
        raise UnsupportedParameter(f"{where}.role", role)
    if role not in ROLES:
        raise InvalidParameter(f"{where}.role", f"must be one of {', '.join(ROLES)}")
    return ChatMessage(role=ROLES[role], text=_content(item.get("content"), f"{where}.content"))


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        if not content:
            raise InvalidParameter(where, "must not be empty")
        return content
    if not isinstance(content, list) or not content:
        raise InvalidParameter(where, "must be a string or a list of text parts")
    parts = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise UnsupportedParameter(f"{where}[{index}].type", kind)
        if not isinstance(part.get("text"), str):
            raise InvalidParameter(f"{where}[{index}].text", "must be a string")
        parts.append(part["text"])
    return "".join(parts)


def text(fields: Json, name: str) -> str:
    """A string that must be there and not be empty."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidParameter(name, "must be a string that is not empty")
    return value


def _list(fields: Json, name: str) -> list[Any]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise InvalidParameter(name, "must be a list")
    return value


def _flag(fields: Json, name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidParameter(name, "must be true or false")
    return value


def _number(fields: Json, name: str, least: float, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidParameter(name, f"must be a number from {least:g} to {most:g}")
    return float(value)


def _integer(fields: Json, name: str, least: int, most: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidParameter(name, f"must be a whole number from {least} to {most}")
    return value


def _max_tokens(fields: Json) -> int:
    newer = _integer(fields, "max_completion_tokens", 1, 65536)
    older = _integer(fields, "max_tokens", 1, 65536)
    return newer or older or 0


def _stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > 4 or not all(isinstance(i, str) and i for i in items):
        raise InvalidParameter("stop", "must be a string or a list of at most 4 strings")
    return tuple(items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What every body of one completion begins with; `created` is in seconds of Unix time."""

    identity: str
    created: int
    model: str

    def json(self, kind: str) -> dict[str, Any]:
        """The fields that stand in each object of the completion."""
        return {"id": self.identity, "object": kind, "created": self.created, "model": self.model}


def completion(head: Head, *, text: str, finish: str, usage: Usage, soma: Json) -> bytes:
    """The body of a whole completion; `soma` holds the ids and citations of the turn."""
    return _encode(
        {
            **head.json("chat.completion"),
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": finish,
                }
            ],
            "usage": usage.json(),
            "soma": soma,
        }
    )


def chunk(
    head: Head,
    *,
    delta: Json | None,
    finish: str | None = None,
    usage: Usage | None = None,
    soma: Json | None = None,
) -> bytes:
    """One server-sent event of a streamed completion; without `delta` it carries the usage alone."""
    choices: Sequence[Json] = (
        [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    )
    body = {**head.json("chat.completion.chunk"), "choices": choices}
    if usage is not None:
        body["usage"] = usage.json()
    if soma is not None:
        body["soma"] = soma
    return event(_encode(body))


def failure(*, reason: str, message: str) -> bytes:
    """The server-sent event that ends a stream which failed in the middle."""
    error = {"message": message, "type": "server_error", "param": None, "code": reason.lower()}
    return event(_encode({"error": error}))


def event(data: bytes) -> bytes:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    return b"data: " + data + b"\n\n"


DONE = event(b"[DONE]")
PING = b": ping\n\n"


def _encode(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
