"""Another tenant's id is answered exactly like an id that does not exist, on every RPC that takes one.

The cases are made from the contracts: every method with a field that the
annotation `resource` marks, so that a new method is attacked from its first day.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from soma.audit.v1 import service_pb2 as audit
from soma.gateway.v1 import service_pb2 as gateway
from soma.identity.v1 import service_pb2 as identity
from soma.memory.v1 import service_pb2 as memory
from soma.options.v1 import options_pb2
from soma.orchestrator.v1 import service_pb2 as orchestrator
from soma.policy.v1 import service_pb2 as policy
from soma.slm.v1 import service_pb2 as slm

from tests.support.edge import Answer, Edge

CANARY = "canary-7d1f0c: the tide table of a harbour that only one tenant knows"
PREFIXES = {"session": "ses", "turn": "trn", "memory": "mem", "document": "doc", "key": "key", "user": "usr",
            "record": "aud", "tenant": "tnt"}  # fmt: skip
NOTHING = "0" * 31 + "1"
MINIMAL: dict[str, Any] = {
    "input": {"text": "hello"}, "query": "tide table", "text": "a note", "display_name": "x",
}  # fmt: skip
MODULES = (audit, gateway, identity, memory, orchestrator, policy, slm)


def resource_fields(method: MethodDescriptor) -> list[tuple[FieldDescriptor, str]]:
    """The id-like fields of a request and what they name."""
    found = []
    for field in method.input_type.fields:
        kind = field.GetOptions().Extensions[options_pb2.field].resource
        if kind:
            found.append((field, kind))
    return found


def cases() -> list[MethodDescriptor]:
    """Every method of the edge that takes an id."""
    return [
        method
        for module in MODULES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.GetOptions().Extensions[options_pb2.method].access == options_pb2.ACCESS_TOKEN
        and resource_fields(method)
    ]


def request(method: MethodDescriptor, ids: dict[str, str]) -> Message:
    """A request that is valid in all but whose ids it holds."""
    body = {name: value for name, value in MINIMAL.items() if name in method.input_type.fields_by_name}
    for field, kind in resource_fields(method):
        body[field.name] = [ids[kind]] if field.is_repeated else ids[kind]
    return json_format.ParseDict(body, GetMessageClass(method.input_type)())


async def ask(user: Edge, method: MethodDescriptor, ids: dict[str, str]) -> Answer:
    """Call a method in its generic JSON form; a stream by its HTTP binding."""
    body = json_format.MessageToDict(request(method, ids), preserving_proto_field_name=True)
    if not method.server_streaming:
        return await user.post(f"/{method.containing_service.full_name}/{method.name}", body)
    base = f"/v1/sessions/{ids['session']}/turns"
    if method.name == "ResumeTurn":
        return await user.get(f"{base}/{ids['turn']}:stream")
    assert method.name == "StreamTurn", f"tell this test how {method.full_name} is called"
    return await user.post(f"{base}:stream", {"input": {"text": "hello"}})


@pytest.fixture(scope="module")
async def owned(edge: Edge) -> dict[str, str]:
    """One resource of each kind in the first tenant, each holding the canary."""
    session = await edge.post("/v1/sessions", {"persona": "bootstrap", "display_name": CANARY})
    frames = await edge.turn(session.body["id"], CANARY, options={"max_tokens": 4})
    await edge.stored(frames)
    note = await edge.post("/v1/memories", {"text": CANARY})
    content = base64.b64encode(CANARY.encode()).decode()
    document = await edge.post(
        "/v1/documents", {"title": CANARY, "media_type": "text/plain", "content": content}
    )
    key = await edge.post("/v1/keys", {"display_name": CANARY})
    who = await edge.get("/v1/whoami")
    records = await edge.audited()
    users = await edge.get("/v1/users")
    return {
        "session": session.body["id"], "turn": frames.turn_id, "memory": note.body["id"],
        "document": document.body["id"], "key": key.body["api_key"]["id"], "tenant": who.body["tenant"],
        "record": records[0]["id"], "user": users.body["users"][0]["id"],
    }  # fmt: skip


@pytest.mark.parametrize("method", cases(), ids=lambda m: m.full_name)
async def test_another_tenant_s_id_is_answered_like_no_id(
    stranger: Edge, owned: dict[str, str], method: MethodDescriptor
) -> None:
    nothing = {kind: f"{prefix}_{NOTHING}" for kind, prefix in PREFIXES.items()}
    theirs = await ask(stranger, method, owned)
    absent = await ask(stranger, method, nothing)
    assert theirs.status == absent.status, (theirs, absent)
    text = json.dumps(theirs.body)
    assert "canary" not in text
    for kind, identity_ in owned.items():
        text = text.replace(identity_, nothing[kind])
    without_ids = lambda body: {k: v for k, v in body.items() if k not in {"details", "id", "create_time"}}  # noqa: E731
    assert without_ids(json.loads(text)) == without_ids(absent.body)
    assert theirs.reason == absent.reason


async def test_the_owner_s_things_are_as_they_were(edge: Edge, owned: dict[str, str]) -> None:
    assert (await edge.get(f"/v1/sessions/{owned['session']}")).status == 200
    assert (await edge.get(f"/v1/memories/{owned['memory']}")).body["text"] == CANARY
    assert (await edge.get(f"/v1/documents/{owned['document']}")).status == 200
    keys = (await edge.get("/v1/keys?page_size=1000")).body["api_keys"]
    assert not next(k for k in keys if k["id"] == owned["key"]).get("revoke_time")


async def test_lists_and_searches_hold_nothing_of_another_tenant(stranger: Edge) -> None:
    for path in (
        "/v1/sessions",
        "/v1/memories",
        "/v1/documents",
        "/v1/keys",
        "/v1/users",
        "/v1/audit/records",
    ):
        answer = await stranger.get(path)
        assert "canary" not in json.dumps(answer.body), path
    for path in ("/v1/memories:recall", "/v1/documents:retrieve"):
        answer = await stranger.post(path, {"query": CANARY, "limit": 100})
        assert "canary" not in json.dumps(answer.body), path
    consulted = await stranger.post(
        "/soma.memory.v1.Knowledge/Consult", {"query": CANARY, "memory_limit": 10, "passage_limit": 10}
    )
    assert "canary" not in json.dumps(consulted.body)
