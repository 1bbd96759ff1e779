"""What a client writes is data everywhere: one JSON object a line in the logs, no escape in a terminal."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
import uuid
from pathlib import Path

import aiohttp
import pytest
from google.protobuf.descriptor import FieldDescriptor

from tests.attacks.calls import by_json, with_token
from tests.attacks.smuggling.wire import http1, request
from tests.support.edge import Edge
from tests.support.stack import Stack
from tests.support.terminal import Soma

FAKE = '"}\n{"event": "call", "level": "info", "process": "identity", "subject": "root", "forged": true}\n{"x": "'  # noqa: E501 - a table of cases
PAYLOADS = {
    "colour": "\x1b[31mred\x1b[0m", "title": "\x1b]0;owned\x07", "clear": "\x1b[2J\x1b[H", "C1": "\x9b31m\x90x\x9c",  # noqa: E501 - a table of cases
    "link": "\x1b]8;;http://evil/\x1b\\x\x1b]8;;\x1b\\", "paste": "\x1b[200~id\n\x1b[201~", "return": "a\rb\r\nc",  # noqa: E501 - a table of cases
    "backspace": "safe\x08\x08\x08\x08evil", "bell": "\x07" * 50, "delete": "a\x7f\x7f", "form feed": "a\x0c\x0bb",  # noqa: E501 - a table of cases
    "override": "\u202egpj.exe\u202c", "isolates": "\u2066a\u2069\u2067b", "marks": "\u200f\u200e\u061c",
    "separators": "a\u2028b\u2029c\u0085d", "fake line": FAKE, "long": "long " * 100, "format": "%s%n{0}{{}}${jndi:x}",  # noqa: E501 - a table of cases
    "markup": "[red]x[/red] <b>&amp;", "NUL": "a\x00b", "CSV": "=1+1|cmd", "BOM": "\ufeffx", "surrogate": "\U0001f600",  # noqa: E501 - a table of cases
}  # fmt: skip
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
async def user(stack: Stack, http: aiohttp.ClientSession) -> Edge:
    return Edge(http, url=stack.edge_url, key=(await stack.new_tenant()).api_key)


def sizes(stack: Stack) -> dict[Path, int]:
    """How long each log is now."""
    return {path: path.stat().st_size for path in stack.settings.home.log.glob("*.log")}


async def storm(stack: Stack, http: aiohttp.ClientSession, user: Edge) -> list[str]:
    """Put every payload into every text field of every method, and into paths and headers; give failures."""
    headers = {"authorization": f"Bearer {user.key}"}
    gate = asyncio.Semaphore(16)

    async def one(rpc_path: str, field: str, name: str) -> str:
        rpc = next(rpc for rpc in with_token() if rpc.path == rpc_path)
        async with gate:
            got = await by_json(
                http, stack.edge_url, rpc, rpc.mapped, headers=headers, body={field: PAYLOADS[name]}
            )
        return f"{rpc} {field} {name}: {got}"[:400] if got.status >= 500 else ""

    fields = [
        (rpc.path, field.name)
        for rpc in with_token()
        for field in rpc.descriptor.input_type.fields
        if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
    ]
    return [
        found
        for found in await asyncio.gather(*(one(*at, name) for at in fields for name in PAYLOADS))
        if found
    ]


async def knock(stack: Stack, user: Edge) -> None:
    """Send what may stand in the edge's own log: paths, hosts, agents, request ids."""
    for payload in PAYLOADS.values():
        raw = payload.encode()[:200].decode("latin-1").replace("\r", "%0d").replace("\n", "%0a")
        for line, extra in (
            (f"GET /v1/{raw.replace(' ', '+')} HTTP/1.1", []), ("GET /v1/sessions HTTP/1.1", [("user-agent", raw)]),  # noqa: E501 - a table of cases
            ("GET /v1/sessions HTTP/1.1", [("x-request-id", raw)]), ("GET /v1/sessions HTTP/1.1", [("referer", raw)]),  # noqa: E501 - a table of cases
            ("GET /v1/sessions HTTP/1.1", [("traceparent", raw)]), (f"{raw[:20].replace(' ', '')} / HTTP/1.1", []),  # noqa: E501 - a table of cases
        ):  # fmt: skip
            auth = ("authorization", f"Bearer {user.key}")
            await http1(stack.settings.ports.base, request(line, [auth, *extra]), to_the_end=False)


def good(path: Path, line: bytes, ours: set[str]) -> bool:
    """Whether a line is what it should be.

    Ours escape all but ASCII. The edge's escapes what JSON asks for, and leaves the rest to who prints it.
    """
    text = line.decode("utf-8", errors="replace")
    if path.stem in ours or path.stem == "edge-access":
        entry = json.loads(text)
        escaped = not UNSAFE.search(text) if path.stem in ours else not CONTROL.search(text)
        return isinstance(entry, dict) and "forged" not in entry and escaped
    return not CONTROL.search(text)


async def test_no_text_of_a_client_breaks_a_line_of_a_log(
    stack: Stack, http: aiohttp.ClientSession, user: Edge
) -> None:
    before = sizes(stack)
    assert not (failures := await storm(stack, http, user)), "\n".join(failures)
    await knock(stack, user)
    mark = f"mark-{uuid.uuid4().hex}"
    await user.call("GET", "/v1/sessions", **{"x-request-id": mark})
    until = time.monotonic() + 30
    while mark.encode() not in (stack.settings.home.log / "orchestrator.log").read_bytes():
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    ours = {row.name for row in await stack.processes() if row.kind in {"service", "worker", "control-plane"}}
    wrong = [
        f"{path.name}: {line[:300]!r}"
        for path, size in before.items()
        for line in path.read_bytes()[size:].split(b"\n")
        if line and not good(path, line, ours)
    ]
    assert ours
    assert not wrong, "\n".join(wrong)


async def test_no_answer_of_the_edge_carries_what_a_terminal_would_obey(stack: Stack, user: Edge) -> None:
    """Refusals name what was wrong with a text without giving it out raw."""
    for payload in PAYLOADS.values():
        for path in ("/soma.policy.v1.Decisions/Evaluate", "/v1/sessions", "/v1/memories:recall"):
            answer = await user.post(
                path, {"action": payload, "persona": payload, payload: payload, "query": payload}
            )
            assert 400 <= answer.status < 500, (path, answer)
        answer = await user.call("POST", "/v1/chat/completions", {"model": payload, "messages": []})
        assert 400 <= answer.status < 500, answer


def document(text: str) -> dict[str, str]:
    """A plain document whose title and content are the text."""
    content = base64.b64encode(text.encode()).decode()
    return {"title": text[:100], "media_type": "text/plain", "content": content}


async def test_the_command_line_shows_what_others_wrote_and_obeys_nothing(stack: Stack, user: Edge) -> None:
    """Names, texts, titles and labels of a tenant, as every command prints them."""
    made = [
        (path, body)
        for payload in PAYLOADS.values()
        for path, body in (
            ("/v1/sessions", {"display_name": payload[:100]}),
            ("/v1/memories", {"text": payload, "labels": {"x": payload[:100]}}),
            ("/v1/keys", {"display_name": payload[:60]}),
            ("/v1/documents", document(payload)),
        )
    ]
    for answer in await asyncio.gather(*(user.post(path, body) for path, body in made)):
        assert answer.status < 500, answer
    soma = Soma.of(stack, user.key)
    commands = [
        ("session", "list"), ("session", "list", "-o", "json"), ("memory", "list"), ("memory", "list", "-o", "yaml"),  # noqa: E501 - a table of cases
        ("memory", "documents"), ("key", "list"), ("audit", "list"),
    ]  # fmt: skip
    commands += [("session", "show", FAKE), ("api", "Sessions.GetSession", json.dumps({"session_id": "\x1b[31m"})),  # noqa: E501 - a table of cases
                 ("api", "OpenAI.CreateChatCompletion", json.dumps({"model": "\x9b31m\u202e", "messages": []}))]  # fmt: skip  # noqa: E501 - a table of cases
    gate = asyncio.Semaphore(2)

    async def run(command: tuple[str, ...]) -> str:
        async with gate:
            ran = await soma(*command)
        return f"{command}: {ran.out!r} {ran.err!r}"[:500] if UNSAFE.search(ran.out + ran.err) else ""

    wrong = [found for found in await asyncio.gather(*map(run, commands)) if found]
    assert not wrong, "\n".join(wrong)


async def test_soma_logs_neutralises_what_a_log_holds_raw(stack: Stack, tmp_path: Path) -> None:
    """Servers that are not ours write their own logs; whoever reads them keeps a working terminal."""
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "postgres.log").write_text("".join(f"{each}\n" for each in PAYLOADS.values()))
    soma = Soma.of(stack, stack.api_key).with_(SOMA_HOME=str(tmp_path))
    ran = await soma("logs", "postgres", "-n", "500")
    assert ran.code == 0, ran
    assert "gpj.exe" in ran.out
    assert not UNSAFE.search(ran.out)
