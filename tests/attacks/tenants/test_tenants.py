"""Another tenant's id is answered like one that nobody has, wherever in a request it stands.

Made from the contracts: every field that names something, by its annotation or by its name, also in messages
within, in lists and in maps. Victim and attacker are fresh tenants; whatever the victim owns holds a canary.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import uuid
from collections.abc import AsyncIterator

import aiohttp
import grpc.aio
import pytest
from google.protobuf import json_format
from soma.options.v1 import options_pb2

from mesh.runtime.contract import contract_of
from tests.attacks.calls import Rpc, by_grpc, by_json, fields_of, with_token
from tests.attacks.doors import Outcome, edge_channel
from tests.attacks.tenants.estate import Estate, base_request, build, creations, put, values_for
from tests.support.edge import Edge
from tests.support.stack import Stack

AT_ONCE = 12
IDS = re.compile(r"\b[a-z]{3}[_-][0-9a-f]{32}\b")
NAMES = re.compile(r"model-[a-z0-9-]+")
NUMBERS = re.compile(r"\d+")


@pytest.fixture(scope="module")
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    async with edge_channel(stack) as opened:
        yield opened


@pytest.fixture(scope="module")
async def victim(stack: Stack, http: aiohttp.ClientSession) -> Estate:
    return await build(Edge(http, url=stack.edge_url, key=(await stack.new_tenant()).api_key))


@pytest.fixture(scope="module")
async def attacker(stack: Stack, http: aiohttp.ClientSession) -> Estate:
    return await build(Edge(http, url=stack.edge_url, key=(await stack.new_tenant()).api_key))


def shape(outcome: Outcome) -> tuple[int, str, str]:
    """All that a refusal tells but ids, names that were asked for, times and numbers.

    A success tells of the caller's own things: that it holds nothing of others is looked at elsewhere.
    """
    text = "" if outcome.status == 200 else outcome.text.partition(" Metadata(")[0]
    return outcome.status, outcome.reason, NUMBERS.sub("N", NAMES.sub("NAME", IDS.sub("ID", text)))


async def test_their_ids_are_answered_like_ids_of_nobody(
    channel: grpc.aio.Channel, victim: Estate, attacker: Estate
) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(rpc: Rpc, path: tuple[str, ...], kind: str, theirs: str, absent: str) -> str:
        outcomes = []
        async with gate:
            for value in (theirs, absent):
                request = base_request(rpc, attacker)
                put(request, path, value)
                outcomes.append(await by_grpc(channel, rpc, request, attacker.metadata))
        found, none = outcomes
        name = f"{rpc} {'.'.join(path)}={kind}"
        if victim.canary in found.text:
            return f"{name} leaks: {found}"[:600]
        if found.status >= 500:
            return f"{name} fails: {found}"[:600]
        return "" if shape(found) == shape(none) else f"{name} tells: {shape(found)} {shape(none)}"[:900]

    attacks = [
        one(rpc, path, kind, theirs, absent)
        for rpc in with_token()
        for path, field in fields_of(rpc.descriptor.input_type)
        for kind, theirs, absent in values_for(path, field, victim)
    ]
    wrong = [found for found in await asyncio.gather(*attacks) if found]
    assert not wrong, "\n".join(wrong)
    assert len(attacks) > 60


async def test_their_ids_in_paths_are_answered_like_ids_of_nobody(
    stack: Stack, http: aiohttp.ClientSession, victim: Estate, attacker: Estate
) -> None:
    headers = {"authorization": f"Bearer {attacker.user.key}"}
    for rpc in with_token():
        for binding in rpc.bindings:
            outcomes = []
            for owner in ("theirs", "nobody's"):
                body = {}
                for field in rpc.descriptor.input_type.fields:
                    for _, theirs, absent in values_for((field.name,), field, victim):
                        body[field.name] = theirs if owner == "theirs" else absent
                if f"{{{next(iter(body), '-')}" not in binding.template:
                    break
                extra = (
                    {"input": {"text": "hello"}} if "input" in rpc.request.DESCRIPTOR.fields_by_name else {}
                )
                in_body = {key: value for key, value in body.items() if f"{{{key}" not in binding.template}
                outcomes.append(
                    await by_json(
                        http, stack.edge_url, rpc, binding, headers=headers, body={**in_body, **extra, **body}
                    )
                )
            if outcomes:
                found, none = outcomes
                assert victim.canary not in found.text, (rpc, found)
                assert found.status in {400, 404}, (rpc, found)
                details = [re.sub(r'"request_id":"[^"]*"', "", str(shape(each))) for each in (found, none)]
                assert details[0] == details[1], rpc


async def test_what_the_victim_owns_is_as_it_was(victim: Estate, attacker: Estate) -> None:
    """Runs after the attacks above, which delete, cancel, revoke and disable."""
    user = victim.user
    session = (await user.get(f"/v1/sessions/{victim.ids['session']}")).body
    assert session["display_name"] == victim.canary
    turn = (await user.get(f"/v1/sessions/{session['id']}/turns/{victim.ids['turn']}")).body
    assert turn["state"] == "TURN_STATE_COMPLETED"
    assert (await user.get(f"/v1/memories/{victim.ids['memory']}")).status == 200
    assert (await user.get(f"/v1/documents/{victim.ids['document']}")).status == 200
    assert not (await user.get(f"/v1/users/{victim.ids['user']}")).body.get("disable_time")
    keys = (await user.get("/v1/keys?page_size=1000")).body["api_keys"]
    assert not any(key.get("revoke_time") for key in keys)
    got = await user.post("/soma.slm.v1.Models/GetModel", {"name": victim.ids["model"]})
    assert got.body["description"] == victim.canary
    records = json.dumps((await user.get("/v1/audit/records?page_size=1000")).body)
    assert attacker.canary not in records
    assert attacker.ids["user"] not in records


async def test_page_tokens_of_another_tenant_and_of_nobody_bring_nothing_of_theirs(
    channel: grpc.aio.Channel, victim: Estate, attacker: Estate
) -> None:
    lists = [rpc for rpc in with_token() if "page_token" in rpc.request.DESCRIPTOR.fields_by_name]
    assert len(lists) >= 9
    tokens = {*bogus_tokens(victim.ids), *bogus_tokens(attacker.ids)}
    wrong = []
    for rpc in lists:
        request = base_request(rpc, victim)
        json_format.ParseDict({"page_size": 1}, request)
        got = await by_grpc(channel, rpc, request, victim.metadata)
        genuine = re.findall(r'next_page_token: "([^"]+)"', got.text)
        own = base_request(rpc, attacker)
        json_format.ParseDict({"page_size": 100}, own)
        asked = [own]
        if "session_id" in rpc.request.DESCRIPTOR.fields_by_name:
            asked.append(rpc.request.FromString(own.SerializeToString()))
            put(asked[-1], ("session_id",), victim.ids["session"])
        for token in [*genuine, *tokens]:
            for each in asked:
                put(each, ("page_token",), token)
                found = await by_grpc(channel, rpc, each, attacker.metadata)
                leaks = victim.canary in found.text or victim.ids["tenant"] in found.text
                if found.status >= 500 or leaks:
                    wrong.append(f"{rpc} {token!r}: {found}"[:400])
    assert not wrong, "\n".join(wrong)


def bogus_tokens(ids: dict[str, str]) -> list[str]:
    """Page tokens that no list gave: forged places, damaged ones, and text that stores may choke on."""
    session = ids["session"]
    numbers = ("9" * 10, "9" * 200, "9" * 600, "-1", "0", "\u0661", "1e9", "\x00", str(2**31), str(2**63))
    plain = [
        *(f"sessions\n{place}" for place in ("", "\x00", "ses_", session, "' or 1=1 --", "\udcff")),
        *(f"turns of {session}\n{place}" for place in numbers),
        *(f"{kind}\n\x00" for kind in ("personas", "memories", "documents", "turns")),
        f"after {2**63}", "after -1", "after 1e3", f"after {'9' * 400}", "after \u0661", "own:\x00", "\x00",
    ]  # fmt: skip
    encoded = [
        base64.urlsafe_b64encode(each.encode(errors="surrogateescape")).decode().rstrip("=") for each in plain
    ]
    return [*encoded, *(each for each in plain if each.isascii()), "=", "====", "a", "A" * 1024, "%00",
            "0:\x00", "1:\x00", "1:x\x00", *ids.values()]  # fmt: skip


async def test_a_request_id_of_another_tenant_is_as_good_as_new(
    channel: grpc.aio.Channel, victim: Estate, attacker: Estate
) -> None:
    """Neither the victim's answer, nor word that the name was taken."""
    fresh = creations(attacker.canary)
    named = [rpc for rpc in with_token() if _by_request_id(rpc)]
    for rpc in named:
        if rpc.descriptor.name == "CreateTenant":
            continue  # an owner may not: its scope is an operator's
        outcomes = []
        for request_id in (
            victim.requests.get(rpc.descriptor.name, victim.requests["CreateSession"]),
            uuid.uuid4().hex,
        ):
            request = base_request(rpc, attacker)
            if rpc.descriptor.name in fresh:
                json_format.ParseDict(creations(attacker.canary)[rpc.descriptor.name][1], request)
            put(request, ("request_id",), request_id)
            outcomes.append(await by_grpc(channel, rpc, request, attacker.metadata))
        theirs, new = outcomes
        assert (theirs.status, theirs.reason) == (new.status, new.reason) == (200, ""), (rpc, theirs, new)
        assert victim.canary not in theirs.text, (rpc, theirs)
        assert not any(id_ in theirs.text for id_ in victim.ids.values()), (rpc, theirs)


def _by_request_id(rpc: Rpc) -> bool:
    contract = contract_of(rpc.descriptor)
    return contract is not None and contract.idempotency == options_pb2.IDEMPOTENCY_REQUEST_ID


async def test_an_idempotency_key_of_another_tenant_is_as_good_as_new(
    victim: Estate, attacker: Estate
) -> None:
    key = uuid.uuid4().hex
    body = {"model": "bootstrap", "max_tokens": 2, "messages": [{"role": "user", "content": victim.canary}]}
    headers = {"idempotency-key": key}
    first = await victim.user.call("POST", "/v1/chat/completions", body, **headers)
    body["messages"] = [{"role": "user", "content": "another question"}]
    second = await attacker.user.call("POST", "/v1/chat/completions", body, **headers)
    assert first.status == second.status == 200, (first, second)
    assert first.body["id"] != second.body["id"]


async def test_a_request_that_names_another_tenant_is_refused(
    channel: grpc.aio.Channel, victim: Estate, attacker: Estate
) -> None:
    tried = 0
    for rpc in with_token():
        contract = contract_of(rpc.descriptor)
        assert contract is not None
        for path in contract.tenant_fields:
            for tenant in (victim.ids["tenant"], "tnt_" + "0" * 32, "x", attacker.ids["tenant"] + " "):
                request = base_request(rpc, attacker)
                put(request, tuple(step for step in path if step != "*"), tenant)
                got = await by_grpc(channel, rpc, request, attacker.metadata)
                assert (got.status, got.reason) == (403, "TENANT_MISMATCH"), (rpc, path, got)
                tried += 1
    assert tried


async def test_nothing_of_the_victim_is_listed_or_found(victim: Estate, attacker: Estate) -> None:
    user = attacker.user
    for path in ("/v1/sessions", "/v1/memories", "/v1/documents", "/v1/keys", "/v1/users",
                 "/v1/service-accounts", "/v1/audit/records", "/v1/models"):  # fmt: skip
        assert victim.canary not in json.dumps((await user.get(path)).body), path
    for path in ("/v1/memories:recall", "/v1/documents:retrieve"):
        for query in (victim.canary, victim.ids["session"], "tide table"):
            answer = await user.post(path, {"query": query, "limit": 100})
            assert victim.canary not in json.dumps(answer.body), path
    for labels in ({"tide": victim.canary}, {}):
        answer = await user.post("/v1/memories:recall", {"query": "tide", "limit": 100, "labels": labels})
        assert victim.canary not in json.dumps(answer.body)
