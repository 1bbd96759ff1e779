"""However a request is written: nobody comes in without a token, gets past a scope, or makes two of one."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
import uuid
from collections.abc import Sequence

import pytest

from tests.attacks.calls import with_token
from tests.attacks.smuggling.paths import OVERRIDES, disguises
from tests.attacks.smuggling.wire import Heard, http1, http2, request, tls
from tests.attacks.tokens.corpus import parts
from tests.support.edge import Edge
from tests.support.stack import Stack

AT_ONCE = 24
SECRET = re.compile(rb'"(sessions|memories|documents|api_keys|users|records|tenant|id)":')


@pytest.fixture(scope="module")
def port(stack: Stack) -> int:
    return stack.settings.ports.base


@pytest.fixture(scope="module")
def secure(stack: Stack) -> ssl.SSLContext:
    return tls(str(stack.ca_file))


@pytest.fixture(scope="module")
async def weak(stack: Stack) -> str:
    """A genuine token that holds one scope that reads nothing of these paths."""
    _, claims, _ = parts(stack.api_key)
    body = {
        **claims,
        "scope": "tokens.read",
        "jti": f"tok_{uuid.uuid4().hex}",
        "exp": int(time.time()) + 3600,
    }
    return (await stack.sign_raw([({}, json.dumps(body))]))[0]


async def storm(
    port: int, attacks: Sequence[tuple[str, bytes]], *, to_the_end: bool = True
) -> list[tuple[str, Heard]]:
    """Send all attacks, each on a connection of its own."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, content: bytes) -> tuple[str, Heard]:
        async with gate:
            return name, await http1(port, content, to_the_end=to_the_end)

    return list(await asyncio.gather(*(one(*attack) for attack in attacks)))


def wrong(found: Sequence[tuple[str, Heard]]) -> str:
    """What came in or broke, one a line; success and a server's failure are both wrong."""
    return "\n".join(
        f"{name!r}: {heard.statuses} {heard.raw[:300]!r}"
        for name, heard in found
        if any(status < 400 or status >= 500 for status in heard.statuses) or SECRET.search(heard.raw)
    )


def spelled(token: str) -> list[tuple[str, bytes]]:
    """Every disguise of the path of every method, by its verb, with a token or none."""
    headers = [("authorization", f"Bearer {token}")] if token else []
    attacks = []
    for rpc in with_token():
        binding = rpc.bindings[0] if rpc.bindings else rpc.mapped
        whole = binding.verb not in {"GET", "DELETE"}
        extra = [("content-type", "application/json"), ("content-length", "2")] if whole else []
        for path in disguises(rpc.url(binding, {})):
            line = f"{binding.verb} {path} HTTP/1.1"
            attacks.append((f"{rpc} {line}", request(line, [*headers, *extra], "{}" if whole else "")))
    return attacks


async def test_no_spelling_of_a_path_answers_without_a_token(port: int) -> None:
    """The route that decides and the transcoder that maps must read the same path."""
    attacks = spelled("")
    assert len(attacks) > 2000
    assert not wrong(await storm(port, attacks, to_the_end=False))


async def test_no_spelling_of_a_path_gets_past_its_scope(port: int, weak: str) -> None:
    attacks = [one for one in spelled(weak) if "WhoAmI" not in one[0]]
    assert not wrong(await storm(port, attacks, to_the_end=False))


async def test_no_header_changes_the_verb_or_the_path(port: int, weak: str) -> None:
    """A token for `GET /v1/whoami` does not reach anything else by a header that names it."""
    token = ("authorization", f"Bearer {weak}")
    attacks = []
    for header in OVERRIDES:
        for value in ("POST", "DELETE", "/v1/sessions", "/soma.orchestrator.v1.Sessions/ListSessions"):
            attacks.append(
                (f"{header}={value}", request("GET /v1/sessions HTTP/1.1", [token, (header, value)]))
            )
            attacks.append((f"whoami {header}", request("GET /v1/whoami HTTP/1.1", [token, (header, value)])))
    for name, heard in await storm(port, attacks):
        if name.startswith("whoami"):
            assert heard.status in {200, 400}, (name, heard)
            assert b"sessions" not in heard.raw, (name, heard)
        else:
            assert heard.status in {400, 401, 403, 404}, (name, heard)


CLIENTS_WORD = {
    "x-soma-tenant": "tnt_" + "0" * 32, "x-soma-token-id": "tok_x", "x-soma-principal": "root",
    "x-soma-scopes": "*", "x-envoy-internal": "true", "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "1000", "x-envoy-force-trace": "1",
    "x-envoy-upstream-alt-stat-name": "x", "x-forwarded-client-cert": "URI=spiffe://soma/operator",
    "x-forwarded-for": "127.0.0.1", "x-forwarded-host": "evil", "x-forwarded-proto": "https",
    "x-real-ip": "127.0.0.1", "forwarded": "for=127.0.0.1", "x_soma_tenant": "x", "x-soma_tenant": "x",
    "x-envoy-original-path": "/x", "grpc-status-details-bin": "AAAA", "x-b3-sampled": "1",
    "grpc-previous-rpc-attempts": "9", "x-envoy-expected-rq-timeout-ms": "1", "te": "trailers, deflate",
}  # fmt: skip


async def test_headers_of_the_mesh_are_not_a_client_s_to_set(edge: Edge, stack: Stack) -> None:
    for name, value in CLIENTS_WORD.items():
        answer = await edge.call("GET", "/v1/whoami", **{name: value})
        assert answer.status == 200, (name, answer)
        assert answer.body["tenant"] == stack.tenant, name
        nobody = await edge.as_user("").call("GET", "/v1/whoami", **{name: value})
        assert (nobody.status, nobody.reason) == (401, "TOKEN_MISSING"), (name, nobody)


async def test_a_revoked_token_is_not_saved_by_another_token_s_id(edge: Edge) -> None:
    """The edge looks revocations up by a header that it sets itself."""
    made = (await edge.post("/v1/keys", {"display_name": "short-lived"})).body
    user = edge.as_user(made["secret"])
    assert (await edge.post(f"/v1/keys/{made['api_key']['id']}:revoke")).status == 200
    until = time.monotonic() + 30
    while (answer := await user.get("/v1/whoami")).status == 200:
        assert time.monotonic() < until
    for value in ("tok_other", "", "key_" + "0" * 32):
        answer = await user.call("GET", "/v1/whoami", **{"x-soma-token-id": value})
        assert (answer.status, answer.reason) == (401, "TOKEN_REVOKED"), answer


def framed(token: str) -> dict[str, bytes]:
    """Requests whose end two readers could see at two places, a second request behind it."""
    auth = f"authorization: Bearer {token}\r\n"
    start = f"POST /v1/sessions HTTP/1.1\r\nhost: soma\r\n{auth}content-type: application/json\r\n"
    second = f"GET /v1/whoami HTTP/1.1\r\nhost: soma\r\n{auth}\r\n"
    chunked = f"0\r\n\r\n{second}"
    heads = {
        "both": "content-length: 6\r\ntransfer-encoding: chunked\r\n",
        "both, the other way": "transfer-encoding: chunked\r\ncontent-length: 6\r\n",
        "two lengths": "content-length: 0\r\ncontent-length: 60\r\n",
        "two lengths in one": "content-length: 0, 60\r\n", "negative": "content-length: -1\r\n",
        "plus": "content-length: +5\r\n", "hex": "content-length: 0x5\r\n", "blank": "content-length: 5 0\r\n",  # noqa: E501 - a table of cases
        "huge": f"content-length: {2**65}\r\n", "words": "content-length: five\r\n",
        "TE twice": "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "TE obscured": "transfer-encoding: xchunked\r\ncontent-length: 0\r\n",
        "TE with a tab": "transfer-encoding:\tchunked\r\ncontent-length: 6\r\n",
        "TE with a blank before the colon": "transfer-encoding : chunked\r\n",
        "TE folded": "transfer-encoding:\r\n chunked\r\ncontent-length: 6\r\n",
        "TE in a line feed": "x: y\ntransfer-encoding: chunked\r\ncontent-length: 6\r\n",
        "TE quoted": 'transfer-encoding: "chunked"\r\ncontent-length: 6\r\n',
        "TE chunked last": "transfer-encoding: identity, chunked\r\ncontent-length: 6\r\n",
        "NUL": "x: a\x00b\r\ncontent-length: 6\r\n", "bare CR": "x: a\rb\r\ncontent-length: 6\r\n",
        "no colon": "nonsense\r\ncontent-length: 6\r\n", "empty name": ": x\r\ncontent-length: 6\r\n",
    }  # fmt: skip
    found = {name: f"{start}{head}\r\n{chunked}".encode("latin-1") for name, head in heads.items()}
    chunks = {
        "chunk size negative": "-1\r\nx\r\n0\r\n\r\n", "chunk size huge": f"{'f' * 17}\r\nx\r\n0\r\n\r\n",
        "chunk size of hex": "0x1\r\nx\r\n0\r\n\r\n", "chunk ended by LF": "2\n{}\n0\n\n",
        "chunk too long": "1\r\n{}\r\n0\r\n\r\n", "chunk extension": f"2;{'x' * 9000}\r\n{{}}\r\n0\r\n\r\n",
    }  # fmt: skip
    for name, body in chunks.items():
        found[name] = f"{start}transfer-encoding: chunked\r\n\r\n{body}{second}".encode("latin-1")
    return found


async def test_no_framing_makes_two_requests_of_one_ambiguous(port: int, weak: str) -> None:
    """Where two readers could disagree about the end, the edge refuses and closes: no second answer."""
    for name, heard in await storm(port, list(framed(weak).items())):
        assert heard.status in {0, 400, 401, 403, 413, 431, 501}, (name, heard)
        assert b'"subject"' not in heard.raw or heard.statuses[0] == 403, (name, heard)
        if heard.status in {0, 400, 501}:
            assert len(heard.statuses) <= 1, (name, heard)


async def test_odd_requests_are_refused(port: int) -> None:
    preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    attacks = {
        "HTTP/1.0": b"GET /v1/sessions HTTP/1.0\r\n\r\n", "HTTP/0.9": b"GET /v1/sessions\r\n\r\n",
        "HTTP/1.2": request("GET /v1/sessions HTTP/1.2"), "HTTP/9.9": request("GET /v1/sessions HTTP/9.9"),
        "CONNECT": request("CONNECT 127.0.0.1:22 HTTP/1.1"), "CONNECT self": request("CONNECT / HTTP/1.1"),
        "TRACE": request("TRACE /v1/sessions HTTP/1.1"), "unknown verb": request("BREW /v1/sessions HTTP/1.1"),  # noqa: E501 - a table of cases
        "long verb": request(f"{'G' * 9000} /v1/sessions HTTP/1.1"), "HEAD": request("HEAD /v1/sessions HTTP/1.1"),  # noqa: E501 - a table of cases
        "verb in small letters": request("get /v1/sessions HTTP/1.1"), "OPTIONS *": request("OPTIONS * HTTP/1.1"),  # noqa: E501 - a table of cases
        "no host": b"GET /v1/sessions HTTP/1.1\r\nconnection: close\r\n\r\n",
        "two hosts": request("GET /v1/sessions HTTP/1.1", [("host", "evil")]),
        "h2c": request("GET /v1/sessions HTTP/1.1", [("upgrade", "h2c"), ("http2-settings", "AAAA")]),
        "websocket": request("GET /v1/sessions HTTP/1.1", [("upgrade", "websocket"), ("sec-websocket-key", "x")]),  # noqa: E501 - a table of cases
        "upgrade to TLS": request("GET /v1/sessions HTTP/1.1", [("upgrade", "TLS/1.0")]),
        "preface and nonsense": f"{preface}nonsense nonsense".encode(), "TLS on plain": b"\x16\x03\x01\x02\x00\x01",  # noqa: E501 - a table of cases
        "nothing but ends": b"\r\n" * 500, "nonsense": b"\x00\xff" * 500, "one huge line": b"A" * 200_000,
        "101 headers": request("GET /v1/sessions HTTP/1.1", [(f"x-{n}", "y") for n in range(150)]),
        "huge header": request("GET /v1/sessions HTTP/1.1", [("x", "y" * 200_000)]),
        "host of a path": request("GET /v1/sessions HTTP/1.1", [("host", "a/b@c#d?e")]),
    }  # fmt: skip
    for name, heard in await storm(port, list(attacks.items())):
        assert heard.status in {0, 400, 401, 403, 404, 405, 408, 426, 431, 501, 505}, (name, heard)
        assert 101 not in heard.statuses, (name, heard)
        assert not SECRET.search(heard.raw), (name, heard)


def pseudo(path: bytes, *, verb: bytes = b"GET", authority: bytes = b"soma") -> list[tuple[bytes, bytes]]:
    """The pseudo headers of a request."""
    return [(b":method", verb), (b":scheme", b"https"), (b":authority", authority), (b":path", path)]


def frames(token: str) -> dict[str, tuple[list[tuple[bytes, bytes]], bytes]]:
    """HTTP/2 requests that would be split, or read otherwise, were they written down in HTTP/1."""
    auth = (b"authorization", f"Bearer {token}".encode())
    get = [*pseudo(b"/v1/sessions"), auth]
    head = {
        "CRLF in a value": (b"x", b"y\r\nauthorization: Bearer z"), "CRLF in a name": (b"x\r\ny", b"z"),
        "LF in a value": (b"x", b"y\nz"), "NUL in a value": (b"x", b"y\x00z"), "colon in a name": (b"x:y", b"z"),  # noqa: E501 - a table of cases
        "capitals in a name": (b"X-Soma-Tenant", b"x"), "blank in a name": (b"x y", b"z"),
        "empty name": (b"", b"z"), "connection": (b"connection", b"close"),
        "transfer-encoding": (b"transfer-encoding", b"chunked"), "upgrade": (b"upgrade", b"h2c"),
        "te": (b"te", b"gzip"), "a second path": (b":path", b"/v1/whoami"),
        "a second method": (b":method", b"POST"), "an unknown pseudo header": (b":soma", b"x"),
        "a second authority": (b":authority", b"evil"), "host beside it": (b"host", b"evil"),
        "a wrong length": (b"content-length", b"5"),
    }  # fmt: skip
    found = {name: ([*get, each], b"") for name, each in head.items()}
    for name, path in {
        "no slash": b"v1/sessions", "empty": b"", "star": b"*", "absolute": b"https://soma/v1/sessions",
        "CRLF": b"/v1/sessions HTTP/1.1\r\nx: y", "NUL": b"/v1/sessions\x00", "blank": b"/v1/sessions x",
        "8 bits": b"/v1/sessions\xff", "long": b"/" + b"a" * 70_000,
    }.items():  # fmt: skip
        found[f"path {name}"] = ([*pseudo(path), auth], b"")
    for name, authority in {
        "userinfo": b"a@soma",
        "CRLF": b"soma\r\nx: y",
        "empty": b"",
        "path": b"soma/x",
    }.items():
        found[f"authority {name}"] = ([*pseudo(b"/v1/sessions", authority=authority), auth], b"")
    found["verb of two words"] = ([*pseudo(b"/v1/sessions", verb=b"GET /v1/whoami"), auth], b"")
    found["CONNECT with a path"] = ([*pseudo(b"/v1/sessions", verb=b"CONNECT"), auth], b"")
    found["extended CONNECT"] = (
        [*pseudo(b"/v1/sessions", verb=b"CONNECT"), (b":protocol", b"websocket"), auth],
        b"",
    )
    found["pseudo header behind"] = ([auth, *pseudo(b"/v1/sessions")], b"")
    found["no method"] = ([*pseudo(b"/v1/sessions")[1:], auth], b"")
    return found


async def test_http2_headers_that_http1_could_not_carry_are_refused(
    stack: Stack, secure: ssl.SSLContext, weak: str
) -> None:
    port = stack.settings.ports.base + 1
    attacks = frames(weak)
    found = await asyncio.gather(*(http2(port, secure, *attack) for attack in attacks.values()))
    for name, heard in zip(attacks, found, strict=True):
        assert heard.status in {0, 400, 403, 404, 405, 431}, (name, heard)
        assert not SECRET.search(heard.raw), (name, heard)


async def test_grpc_headers_out_of_form_are_refused_or_without_effect(
    stack: Stack, secure: ssl.SSLContext
) -> None:
    """A deadline, an encoding, a content type: an answer or a refusal, never a failure of the server."""
    port, path = stack.settings.ports.base + 1, b"/soma.identity.v1.Tokens/WhoAmI"
    empty = b"\x00\x00\x00\x00\x00"
    changes: list[tuple[bytes, bytes]] = [
        *((b"grpc-timeout", value) for value in (
            b"0", b"0S", b"0n", b"-1S", b"1", b"S", b"1H", b"99999999H", b"999999999H", b"99999999999999999999S",  # noqa: E501 - a table of cases
            b"1x", b"1.5S", b" 5S", b"5 S", b"0x5S", b"1s", b"NaN", b"inf", b"", b"1S,2S")),
        *((b"grpc-encoding", value) for value in (b"gzip", b"identity", b"br", b"x", b"", b"gzip,gzip")),
        *((b"grpc-accept-encoding", value) for value in (b"", b"x", b"identity;q=0", b"a" * 4000)),
        *((b"content-type", value) for value in (
            b"application/grpc", b"application/grpc+proto", b"application/grpc+json", b"application/grpcx",
            b"APPLICATION/GRPC", b"application/grpc-web", b"application/grpc-web+proto",
            b"application/grpc-web-text", b"application/grpc; charset=x", b"text/plain", b"", b"application/json")),  # noqa: E501 - a table of cases
        (b"te", b"trailers"), (b"te", b"x"), (b"grpc-message-type", b"x"), (b"user-agent", b"x" * 4000),
        *((b"x-request-id", value) for value in (b"a b", b"x" * 4000, b"\xc3\xa9", b"{}", b"'\"<>", b"\x7f", b"a,b")),  # noqa: E501 - a table of cases
        *((b"traceparent", value) for value in (b"00", b"x" * 4000, b"ff-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")),  # noqa: E501 - a table of cases
    ]  # fmt: skip
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: bytes, value: bytes, token: str) -> str:
        sent = {b"content-type": b"application/grpc", b"te": b"trailers"} | {name: value}
        headers = [*pseudo(path, verb=b"POST"), *sent.items()]
        if token:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        async with gate:
            heard = await http2(port, secure, headers, empty)
        status = re.search(rb"grpc-status: (\d+)", heard.raw)
        # 13 is also what gRPC's own core says of an encoding that it cannot read, and what 400 maps to.
        unread = b"Error parsing 'grpc-encoding'" in heard.raw or heard.status == 400
        broke = status is not None and status[1] in {b"2", b"13"} and not unread
        failed = heard.status in {500, 502, 503} or broke
        leaked = not token and b"usr_" in heard.raw
        return f"{name!r}: {value[:40]!r} {heard}" if failed or leaked else ""

    found = await asyncio.gather(*(one(*each, token) for each in changes for token in ("", stack.api_key)))
    assert not any(found), "\n".join(filter(None, found))


async def test_a_client_s_address_is_the_edge_s_word(edge: Edge, stack: Stack) -> None:
    """Throttled sign-ins cannot be spread by a header: what a client says of its address counts for nothing."""  # noqa: E501 - a table of cases
    nobody = edge.as_user("")
    grant = {
        "password": {
            "tenant_id": stack.tenant,
            "email": f"{uuid.uuid4().hex}@example.org",
            "password": "x" * 12,
        }
    }
    statuses = []
    for attempt in range(40):
        spoofed = f"203.0.113.{attempt}"
        headers = {"x-forwarded-for": spoofed, "x-real-ip": spoofed, "forwarded": f"for={spoofed}"}
        answer = await nobody.call("POST", "/v1/tokens", grant, **headers)
        statuses.append(answer.status)
        assert answer.status in {401, 429}, answer
    assert 429 in statuses, statuses
