"""Who gets through the edge, on the JSON path and on the gRPC path alike, and what refusals say."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable

import grpc
import grpc.aio
import pytest
from soma.identity.v1 import service_pb2 as identity_pb2
from soma.identity.v1 import service_pb2_grpc as identity_grpc
from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.status import read
from tests.integration.mesh.conftest import Answer, Edge
from tests.support.issuer import Issuer
from tests.support.upstreams import LIMITED_TENANT

TokenOf = Callable[[Issuer], str]

REFUSALS: list[tuple[str, TokenOf, int, str]] = [
    ("no token", lambda _: "", 401, "TOKEN_MISSING"),
    ("no JWT", lambda _: "garbage", 401, "TOKEN_INVALID"),
    ("expired", lambda i: i.token("sessions.write", exp=1), 401, "TOKEN_EXPIRED"),
    ("without expiry", lambda i: i.token("sessions.write", exp=None), 401, "TOKEN_INVALID"),
    ("not yet valid", lambda i: i.token("sessions.write", nbf=4102444800), 401, "TOKEN_INVALID"),
    ("another audience", lambda i: i.token("sessions.write", aud="other"), 401, "TOKEN_INVALID"),
    ("another issuer", lambda i: i.token("sessions.write", iss="evil"), 401, "TOKEN_INVALID"),
    ("another key", lambda _: Issuer().token("sessions.write"), 401, "TOKEN_INVALID"),
    ("alg none", lambda i: i.unsigned("sessions.write"), 401, "TOKEN_INVALID"),
    ("HS256 by public key", lambda i: i.hs256_with_public_key("sessions.write"), 401, "TOKEN_INVALID"),
    ("no scope", lambda i: i.token(), 403, "SCOPE_MISSING"),
    ("another scope", lambda i: i.token("sessions.read"), 403, "SCOPE_MISSING"),
    ("a longer scope", lambda i: i.token("sessions.writeall"), 403, "SCOPE_MISSING"),
    ("limited tenant", lambda i: i.token("sessions.write", tenant=LIMITED_TENANT), 429, "RATE_LIMITED"),
]
STATUS = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
IDS = [name for name, *_ in REFUSALS]
CASES = [tuple(case) for _, *case in REFUSALS]


@pytest.mark.parametrize("path", ["/v1/sessions", "/soma.orchestrator.v1.Sessions/CreateSession"])
@pytest.mark.parametrize(("token", "status", "reason"), CASES, ids=IDS)
async def test_json_call_is_refused_with_its_reason(
    edge: Edge, path: str, token: TokenOf, status: int, reason: str
) -> None:
    before = len(edge.upstreams.arrived.calls)
    answer = await edge.call("POST", path, token=token(edge.issuer), json={"persona": "guide"})
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.body["code"] == STATUS[status].value[0]
    assert answer.body["message"]
    assert answer.headers.get("retry-after") == ("1" if status == 429 else None)
    assert len(edge.upstreams.arrived.calls) == before


@pytest.mark.parametrize(("token", "status", "reason"), CASES, ids=IDS)
async def test_grpc_call_is_refused_with_its_reason(
    edge: Edge, token: TokenOf, status: int, reason: str
) -> None:
    stub = service_pb2_grpc.SessionsStub(edge.channel)
    made = token(edge.issuer)
    metadata = (("authorization", f"Bearer {made}"),) if made else ()
    call = stub.CreateSession(service_pb2.CreateSessionRequest(), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is STATUS[status]
    assert _reason(caught.value) == reason
    come_back = dict(caught.value.trailing_metadata() or ()).get("retry-after")
    assert come_back == ("1" if status == 429 else None)


async def test_token_with_the_scope_passes_on_both_paths(edge: Edge) -> None:
    token = edge.issuer.token("sessions.read", "sessions.write")
    answer = await edge.call("POST", "/v1/sessions", token=token, json={"persona": "guide"})
    assert (answer.status, answer.body["persona"]) == (201, "guide")
    mapped = await edge.call(
        "POST", "/soma.orchestrator.v1.Sessions/CreateSession", token=token, json={"persona": "guide"}
    )
    assert mapped.status == 200
    stub = service_pb2_grpc.SessionsStub(edge.channel)
    session = await stub.CreateSession(
        service_pb2.CreateSessionRequest(persona="guide"), metadata=(("authorization", f"Bearer {token}"),)
    )
    assert session.persona == "guide"


async def test_token_in_the_query_is_not_taken(edge: Edge) -> None:
    token = edge.issuer.token("sessions.read")
    answer = await edge.call("GET", f"/v1/sessions/ses_1?access_token={token}")
    assert (answer.status, answer.reason) == (401, "TOKEN_MISSING")


async def test_method_for_workloads_has_no_route(edge: Edge) -> None:
    token = edge.issuer.token("sessions.read")
    answer = await edge.call("POST", "/soma.identity.v1.Trust/WatchTrust", token=token, json={})
    assert (answer.status, answer.reason) == (404, "ROUTE_NOT_FOUND")
    trust = identity_grpc.TrustStub(edge.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in trust.WatchTrust(
            identity_pb2.WatchTrustRequest(), metadata=(("authorization", f"Bearer {token}"),)
        ):
            pass
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert _reason(caught.value) == "ROUTE_NOT_FOUND"


@pytest.mark.parametrize(
    "path",
    ["/nosuch", "/v1/sessions/a/b/c", "/v1/../soma.mesh.v1.ControlPlane/ListProxies", "//v1//nosuch"],
)
async def test_unknown_path_is_not_found_for_whoever_has_a_token(edge: Edge, path: str) -> None:
    answer = await edge.call("GET", path, token=edge.issuer.token("sessions.read"))
    assert (answer.status, answer.reason) == (404, "ROUTE_NOT_FOUND")
    nobody = await edge.call("GET", path)
    assert (nobody.status, nobody.reason) == (401, "TOKEN_MISSING")


async def test_public_methods_need_no_token(edge: Edge) -> None:
    health = await edge.call("GET", "/healthz")
    assert (health.status, health.body) == (200, {"status": "ok"})
    keys = await edge.call("GET", "/.well-known/jwks.json")
    assert keys.status == 200
    assert "d" not in keys.body["keys"][0]


async def test_revoked_token_is_refused_at_once_and_others_pass(edge: Edge) -> None:
    revoked = f"tok_{uuid.uuid4().hex}"
    token, other = edge.issuer.token("sessions.read", jti=revoked), edge.issuer.token("sessions.read")
    assert (await edge.call("GET", "/v1/sessions/ses_1", token=token)).status == 200
    edge.upstreams.trust.revoke(revoked)
    answer = await _until_refused(edge, token)
    assert (answer.status, answer.reason) == (401, "TOKEN_REVOKED")
    stub = service_pb2_grpc.SessionsStub(edge.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetSession(
            service_pb2.GetSessionRequest(session_id="ses_1"),
            metadata=(("authorization", f"Bearer {token}"), ("x-soma-token-id", "tok_other")),
        )
    assert _reason(caught.value) == "TOKEN_REVOKED"
    assert (await edge.call("GET", "/v1/sessions/ses_1", token=other)).status == 200


async def test_internal_headers_of_clients_do_not_pass(edge: Edge) -> None:
    forged = {
        "x-soma-tenant": "other",
        "x-soma-anything": "1",
        "x-forwarded-client-cert": "By=spiffe://soma/operator",
        "x-envoy-retry-on": "5xx",
        "x-envoy-original-path": "/forged",
        "grpc-status-details-bin": "AAAA",
        "x-request-id": "chosen-by-client",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    token = edge.issuer.token("sessions.read")
    answer = await edge.call("GET", "/v1/sessions/ses_1", token=token, headers=forged)
    _, metadata, _ = edge.upstreams.arrived.last
    assert not [name for name in metadata if name.startswith("x-soma-")]
    assert "x-forwarded-client-cert" not in metadata
    assert "x-envoy-retry-on" not in metadata
    assert metadata["x-envoy-original-path"] == "/v1/sessions/ses_1"
    assert metadata["x-request-id"] == answer.headers["x-request-id"] == "chosen-by-client"
    assert metadata["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert metadata["authorization"] == f"Bearer {token}"


async def test_every_call_has_a_request_id_and_a_trace(edge: Edge) -> None:
    answer = await edge.call("GET", "/v1/sessions/ses_1", token=edge.issuer.token("sessions.read"))
    _, metadata, _ = edge.upstreams.arrived.last
    assert len(metadata["traceparent"]) == 55
    assert metadata["x-request-id"] == answer.headers["x-request-id"]
    refused = await edge.call("GET", "/v1/sessions/ses_1")
    assert refused.headers["x-request-id"]


async def test_browser_origins(edge: Edge) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    allowed = await edge.call("OPTIONS", "/v1/sessions", headers={**asked, "origin": "http://localhost:3000"})
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:3000"
    refused = await edge.call("OPTIONS", "/v1/sessions", headers={**asked, "origin": "http://evil.example"})
    assert refused.status == 401
    assert "access-control-allow-origin" not in refused.headers


async def test_access_log_names_callers_and_holds_no_secret(edge: Edge) -> None:
    token = edge.issuer.token("sessions.read", tenant="logged")
    await edge.call("GET", f"/v1/sessions/ses_1?access_token={token}&secret=hush", token=token)
    log = edge.real.home / "log" / "edge-access.log"
    for _ in range(60):
        if "logged" in log.read_text():
            break
        await asyncio.sleep(0.5)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    line = next(line for line in lines if line["tenant"] == "logged")
    assert line["path"] == "/v1/sessions/ses_1"
    assert line["method"] == "/soma.orchestrator.v1.Sessions/GetSession"
    assert "hush" not in log.read_text()
    assert token not in log.read_text()


async def test_openai_paths_fail_in_openai_shape(edge: Edge) -> None:
    missing = await edge.call("GET", "/v1/models")
    assert missing.status == 401
    assert missing.body["error"] == {
        "message": "no bearer token",
        "type": "authentication_error",
        "param": None,
        "code": "token_missing",
    }
    token = edge.issuer.token("turns.create")
    unknown = await edge.call("POST", "/v1/chat/completions", token=token, json={"model": "nosuch"})
    assert (unknown.status, unknown.body["error"]["code"]) == (404, "model_not_found")
    assert unknown.body["error"]["message"] == 'model "nosuch" does not exist'
    passed = await edge.call("POST", "/v1/chat/completions", token=token, json={"model": "x", "extra": 1})
    assert (passed.status, passed.body) == (200, {"model": "x", "extra": 1})


async def test_edge_serves_nobody_else_s_certificate_and_plain_http_only_on_loopback(edge: Edge) -> None:
    listeners = json.loads(await edge.real.admin("/listeners?format=json"))["listener_statuses"]
    addresses = {entry["name"]: entry["local_address"]["socket_address"] for entry in listeners}
    assert addresses["edge-http"]["address"] == "127.0.0.1"


async def _until_refused(edge: Edge, token: str) -> Answer:
    for _ in range(50):
        answer = await edge.call("GET", "/v1/sessions/ses_1", token=token)
        if answer.status != 200:
            return answer
        await asyncio.sleep(0.1)
    return answer


def _reason(error: grpc.aio.AioRpcError) -> str:
    return read(error).reason
