"""What a tenant owns, one of each kind, and requests that name it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from soma.options.v1 import options_pb2

from tests.attacks.calls import NOWHERE, Rpc
from tests.support.edge import Edge

PREFIXES = {"session": "ses", "turn": "trn", "memory": "mem", "document": "doc", "key": "key", "user": "usr",
            "record": "aud", "tenant": "tnt", "account": "svc"}  # fmt: skip
TEXT = "The tide table of the harbour."
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Estate:
    """The ids of a tenant's things by kind, each thing holding the canary."""

    user: Edge = field(repr=False)
    canary: str
    ids: dict[str, str]
    requests: dict[str, str] = field(default_factory=dict)
    """Request ids that were used, by method."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.user.key}"),)


def nothing() -> dict[str, str]:
    """An id of each kind that nobody has."""
    return {kind: f"{prefix}_{NOWHERE}" for kind, prefix in PREFIXES.items()} | {
        "model": "model-of-nobody-0",
    }


async def build(user: Edge, *, scale: int = 2) -> Estate:
    """Make `scale` of each kind through the edge; the last ones are told by their ids."""
    canary = f"canary-{uuid.uuid4().hex}"
    made: dict[str, str] = {}
    requests: dict[str, str] = {}
    for _ in range(scale):
        for name, (path, body) in creations(canary).items():
            requests[name] = f"req-{uuid.uuid4().hex}"
            answer = await user.post(path, {**body, "request_id": requests[name]})
            assert answer.status in {200, 201}, (name, answer)
            made[name] = _id_of(answer.body)
    session = made["CreateSession"]
    frames = await user.turn(session, f"{TEXT} {canary}", options={"max_tokens": 4})
    await user.stored(frames)
    who = (await user.get("/v1/whoami")).body
    records = await user.audited()
    ids = {
        "session": session, "turn": frames.turn_id, "memory": made["Remember"],
        "document": made["IngestDocument"], "key": made["CreateApiKey"], "user": made["CreateUser"],
        "account": made["CreateServiceAccount"], "model": made["CreateModel"], "tenant": who["tenant"],
        "record": records[0]["id"],
    }  # fmt: skip
    return Estate(user, canary, ids, requests)


def creations(canary: str) -> dict[str, tuple[str, Json]]:
    """For each method that makes a thing its path and a body."""
    unique = uuid.uuid4().hex[:12]
    model = {"name": f"model-{unique}", "provider": "PROVIDER_OPENAI", "task": "TASK_GENERATE",
             "provider_model": "x", "base_url": "https://models.example.org/v1", "context_tokens": 1024,
             "max_output_tokens": 64, "description": canary, "slots": 1}  # fmt: skip
    return {
        "CreateSession": ("/v1/sessions", {"persona": "bootstrap", "display_name": canary}),
        "Remember": ("/v1/memories", {"text": f"{TEXT} {canary}", "labels": {"tide": canary}}),
        "IngestDocument": (
            "/v1/documents",
            {"title": canary, "media_type": "text/plain", "content": "dGlkZSB0YWJsZQ=="},
        ),
        "CreateApiKey": ("/v1/keys", {"display_name": canary, "scopes": ["sessions.read"]}),
        "CreateUser": (
            "/v1/users",
            {"email": f"u-{unique}@example.org", "password": "correct horse battery", "display_name": canary},
        ),
        "CreateServiceAccount": (
            "/v1/service-accounts",
            {"display_name": canary, "scopes": ["sessions.read"]},
        ),
        "CreateModel": ("/soma.slm.v1.Models/CreateModel", {"model": model}),
    }


def _id_of(body: Json) -> str:
    found = body.get("id") or body.get("name") or body.get("api_key", {}).get("id")
    assert found, body
    return str(found)


def base_request(rpc: Rpc, own: Estate) -> Message:
    """A request of the method in which every id is the caller's own."""
    body: Json = {}
    texts = {"text": TEXT, "query": TEXT, "display_name": "x", "action": "sessions.read", "model": "embed",
             "media_type": "text/plain", "content": "eA==", "title": "x"}  # fmt: skip
    for one in rpc.descriptor.input_type.fields:
        kind = one.GetOptions().Extensions[options_pb2.field].resource
        if kind and rpc.descriptor.name not in {"Recall", "Retrieve", "Remember", "CreateApiKey"}:
            body[one.name] = [own.ids[kind]] if one.is_repeated else own.ids[kind]
        elif one.name in texts and one.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
            body[one.name] = texts[one.name]
    if rpc.descriptor.name in {"CreateTurn", "StreamTurn"}:
        body |= {"input": {"text": "hello"}, "options": {"max_tokens": 2}}
    if rpc.descriptor.name in {"Embed", "CountTokens"}:
        body["texts"] = ["x"]
    request = rpc.request()
    json_format.ParseDict(body, request)
    return request


def values_for(path: tuple[str, ...], one: FieldDescriptor, theirs: Estate) -> Iterator[tuple[str, str, str]]:
    """For a field of a request: the kind, another tenant's id and its twin that nobody has."""
    if one.type != FieldDescriptor.TYPE_STRING:
        return
    none = nothing()
    kind = one.GetOptions().Extensions[options_pb2.field].resource
    name = path[-1]
    if kind:
        kinds = [kind] if kind != "user" else ["user", "account"]
    elif name == "request_id":
        return
    elif name in {"name", "model", "id"}:
        kinds = ["model"]
    elif name.endswith("_id") or name in {"resource", "source", "key", "value", "subject"}:
        kinds = list(PREFIXES)
    else:
        return
    for each in kinds:
        yield each, theirs.ids[each], none[each]


def put(request: Message, path: tuple[str, ...], value: str) -> None:
    """Set a field of a message wherever it lies: in a message within, a list, or a map."""
    at: Any = request
    for depth, step in enumerate(path):
        last = depth == len(path) - 1
        one = at.DESCRIPTOR.fields_by_name[step]
        held = one.message_type
        if held is not None and held.GetOptions().map_entry:
            entry = {"tide": value} if path[depth + 1] == "value" else {value.replace("_", "-"): "x"}
            getattr(at, step).clear()
            getattr(at, step).update(entry)
            return
        if last:
            if one.is_repeated:
                del getattr(at, step)[:]
                getattr(at, step).append(value)
            else:
                setattr(at, step, value)
        else:
            at = getattr(at, step).add() if one.is_repeated else getattr(at, step)
