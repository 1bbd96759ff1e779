"""Every group of `soma` against the running platform: what it prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.terminal import Soma

NOTHING = "ses_" + "0" * 32
HOSTILE = "red \x1b[31mtext\x1b[0m and \u202eturned"


async def test_memories_are_remembered_recalled_and_forgotten(soma: Soma) -> None:
    made = await soma(
        "memory", "remember", "The boiler room is behind the kitchen.", "-l", "house=a", "-o", "json"
    )
    assert made.code == 0, made.err
    memory = made.data["id"]
    found = await soma("memory", "recall", "where is the boiler", "-l", "house=a", "-o", "json")
    assert [each["memory"]["id"] for each in found.data] == [memory]
    assert "boiler room" in (await soma("memory", "list")).out
    assert (await soma("memory", "forget", memory)).code == 0
    assert (await soma("memory", "recall", "boiler", "-o", "json")).data == []
    assert (await soma("memory", "forget", memory)).code in (0, 3)


async def test_documents_are_ingested_once_and_retrieved(soma: Soma, tmp_path: Path) -> None:
    file = tmp_path / "pumps.md"
    file.write_text("# Pumps\n\nThe lift pump needs oil every ninety days.\n", encoding="utf-8")
    first = await soma("memory", "ingest", str(file), "-o", "json")
    again = await soma("memory", "ingest", str(file), "-o", "json")
    assert first.code == 0, first.err
    assert first.data[0]["id"] == again.data[0]["id"]
    found = await soma("memory", "retrieve", "how often does the pump need oil", "-n", "1", "-o", "json")
    assert "ninety days" in found.data[0]["text"]
    listed = await soma("memory", "documents")
    assert "pumps.md" in listed.out
    assert (await soma("memory", "forget", first.data[0]["id"])).code == 0


async def test_text_of_others_never_drives_the_terminal(soma: Soma) -> None:
    made = await soma("memory", "remember", HOSTILE, "-o", "json")
    assert made.data["text"] == HOSTILE
    for output in ("table", "json", "yaml"):
        shown = await soma("memory", "list", "-o", output)
        assert shown.code == 0
        assert not {"\x1b", "\u202e"} & set(shown.out)
    await soma("memory", "forget", made.data["id"])


async def test_a_key_works_until_it_is_revoked(soma: Soma) -> None:
    made = await soma("key", "create", "reader", "--scope", "keys.read", "-o", "json")
    assert made.code == 0, made.err
    reader = soma.with_(SOMA_API_KEY=made.data["secret"])
    key = made.data["api_key"]["id"]
    assert key in (await reader("key", "list")).out
    refused = await reader("session", "list")
    assert (refused.code, "SCOPE_MISSING" in refused.err) == (5, True), refused.err
    assert (await soma("key", "revoke", key)).code == 0
    gone = await reader("key", "list")
    assert gone.code == 4, gone.err
    assert made.data["secret"] not in (await soma("key", "list", "-o", "json")).out


async def test_a_tenant_sees_itself_and_no_other(soma: Soma, owner: Soma) -> None:
    mine, theirs = (
        (await soma("tenant", "show", "-o", "json")).data,
        (await owner("tenant", "show", "-o", "json")).data,
    )
    assert mine["id"] != theirs["id"]
    other = await soma("tenant", "show", theirs["id"])
    assert (other.code, other.out) == (3, "")
    denied = await soma(
        "tenant", "create", "More", "--email", "a@example.org", "--password-file", "/etc/hostname"
    )
    assert denied.code in (2, 5)


async def test_models_are_listed_and_checked(soma: Soma) -> None:
    listed = (await soma("model", "list", "-o", "json")).data
    assert {"guide", "bootstrap"} <= {model["name"] for model in listed}
    checked = await soma("model", "check", "guide", "-o", "json")
    assert (checked.code, checked.data[0]["ready"]) == (0, True)
    assert (await soma("model", "show", "nosuch")).code == 3


async def test_the_policy_answers_by_exit_code_too(soma: Soma) -> None:
    allowed = await soma("policy", "evaluate", "turns.create", "-a", "resource.persona=guide", "-o", "json")
    denied = await soma("policy", "evaluate", "nuclear.launch", "-o", "json")
    assert (allowed.code, allowed.data["allowed"]) == (0, True)
    assert (denied.code, denied.data["allowed"]) == (5, False)
    explained = await soma("policy", "explain", "turns.create", "-o", "json")
    assert explained.data["rules"][0]["matched"] is True
    assert (await soma("policy", "evaluate", "turns.create", "-a", "principal.kind=user")).code == 2


async def test_what_was_done_is_in_the_audit_log_and_the_log_is_whole(soma: Soma) -> None:
    await soma("key", "create", "for-the-record", "--scope", "audit.read")
    listed = await soma("audit", "list", "--action", "tenants.create", "-o", "json")
    assert listed.code == 0, listed.err
    verified = await soma("audit", "verify", "-o", "json")
    assert (verified.code, verified.data["valid"]) == (0, True)


async def test_any_method_can_be_called(soma: Soma) -> None:
    made = await soma("api", "Sessions.CreateSession", '{"persona": "guide", "request_id": "once"}')
    again = await soma(
        "api",
        "soma.orchestrator.v1.Sessions/CreateSession",
        "-",
        typed=json.dumps({"persona": "guide", "request_id": "once"}),
    )
    assert made.code == 0, made.err
    assert made.data["id"] == again.data["id"]
    body = {"session_id": made.data["id"], "input": {"text": "Say something."}}
    streamed = await soma("api", "Turns.StreamTurn", json.dumps(body))
    events = [json.loads(each) for each in streamed.out.splitlines()]
    numbered = [int(event["seq"]) for event in events if "ping" not in event]
    assert numbered == list(range(len(numbered)))
    assert "completed" in events[-1]
    shown = await soma("session", "show", made.data["id"], "-o", "json")
    assert shown.data["turn_count"] == 1
    turns = await soma("session", "turns", made.data["id"], "-o", "json")
    assert turns.data[0]["input"]["text"] == "Say something."
    assert (await soma("session", "delete", made.data["id"])).code == 0
    assert (await soma("session", "show", made.data["id"])).code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("session", "show", NOTHING), 3, "NOT_FOUND"),
        (("session", "show", "no-id"), 2, "INVALID_ARGUMENT"),
        (("session", "turns", NOTHING), 3, "NOT_FOUND"),
        (("ask", "hello", "--session", NOTHING), 3, "NOT_FOUND"),
        (("ask", "hello", "--persona", "nosuch"), 3, "NOT_FOUND"),
        (("api", "No.Such"), 2, "soma api --list"),
        (("api", "Sessions.GetSession", '{"x": 1}'), 2, "GetSessionRequest"),
        (("memory", "remember"), 2, "Missing argument"),
        (("memory", "ingest", "/nosuch/file"), 2, "cannot be read"),
    ],
)
async def test_failures_are_one_line_and_an_exit_code(
    soma: Soma, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    ran = await soma(*arguments)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert reason in ran.err
    assert "Traceback" not in ran.err


async def test_a_wrong_key_and_an_absent_stack_are_told(soma: Soma, tmp_path: Path) -> None:
    wrong = await soma.with_(SOMA_API_KEY="wrong")("session", "list")
    nobody = await soma.with_(SOMA_GRPC_TARGET="127.0.0.1:9")("session", "list")
    empty = {"SOMA_GRPC_TARGET": "", "SOMA_CA_FILE": "", "SOMA_API_KEY": "", "SOMA_HOME": str(tmp_path)}
    nowhere = await soma.with_(**empty)("session", "list")
    assert (wrong.code, nobody.code, nowhere.code) == (4, 7, 7)
    assert all(
        len(ran.err.splitlines()) == 1 and ran.err.startswith("soma: ") for ran in (wrong, nobody, nowhere)
    )
