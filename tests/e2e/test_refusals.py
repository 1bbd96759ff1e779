"""Who may not is refused, with a reason, on the JSON path and on the gRPC path alike."""

from __future__ import annotations

import base64
import datetime
import hmac
import json
import time
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from joserfc import jwt
from joserfc.jwk import ECKey
from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.status import read
from tests.support.edge import Edge
from tests.support.stack import Stack

DESCRIPTORS = Path(__file__).resolve().parents[2] / "gen" / "descriptors" / "soma.binpb"


def claims(stack: Stack, **changes: Any) -> dict[str, Any]:
    """The claims of the stack's own key, changed."""
    payload = stack.api_key.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {**found, **changes}


def header(stack: Stack) -> dict[str, Any]:
    """The header of the stack's own key."""
    part = stack.api_key.split(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def unsigned(head: dict[str, Any], body: dict[str, Any], signature: str = "") -> str:
    """A token put together by hand."""
    pack = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731
    return f"{pack(head)}.{pack(body)}.{signature}"


async def forged(stack: Stack, edge: Edge) -> dict[str, str]:
    """Tokens that must not pass, by the name of the attack."""
    jwks = (await edge.as_user("").get("/.well-known/jwks.json")).body
    public = ECKey.import_key(jwks["keys"][0])
    other = ECKey.generate_key("P-256")
    own, head = claims(stack), header(stack)
    confused = unsigned({**head, "alg": "HS256"}, own).rstrip(".")
    mac = hmac.digest(public.as_pem(private=False), confused.encode(), "sha256")
    genuine = stack.api_key.split(".")
    return {
        "no token": "",
        "not a token": "x.y.z",
        "alg none": unsigned({**head, "alg": "none"}, own),
        "alg None": unsigned({**head, "alg": "None"}, own, genuine[2]),
        "HS256 with the public key": f"{confused}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}",
        "another key": jwt.encode({**head, "alg": "ES256"}, own, other),
        "another key with its jwk": jwt.encode(
            {**head, "alg": "ES256", "jwk": other.as_dict(private=False)}, own, other
        ),
        "stripped signature": ".".join([*genuine[:2], ""]),
        "changed claims": ".".join(
            [genuine[0], unsigned({}, claims(stack, tenant="tnt_x")).split(".")[1], genuine[2]]
        ),
        "huge token": stack.api_key + "A" * 20_000,
    }


async def test_forged_tokens_are_refused_as_json_and_as_grpc(edge: Edge, stack: Stack) -> None:
    credentials = grpc.ssl_channel_credentials(stack.ca_file.read_bytes())
    async with grpc.aio.secure_channel(stack.grpc_target, credentials) as channel:
        stub = service_pb2_grpc.SessionsStub(channel)
        for attack, token in (await forged(stack, edge)).items():
            answer = await edge.as_user(token).get("/v1/sessions")
            assert answer.status in {401, 431}, (attack, answer)
            if answer.status == 401:
                assert answer.reason in {"TOKEN_MISSING", "TOKEN_INVALID"}, (attack, answer)
            assert "sessions" not in answer.body
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.ListSessions(
                    service_pb2.ListSessionsRequest(), metadata=(("authorization", f"Bearer {token}"),)
                )
            assert raised.value.code() in {
                grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL,
                grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN,
            }, attack  # fmt: skip


async def test_expired_and_misdirected_tokens_are_refused_with_their_reason(edge: Edge, stack: Stack) -> None:
    """Signed with the platform's own key, so that only the claim is wrong."""
    now = int(time.time())
    for changes, statuses in (
        ({"exp": now - 120, "iat": now - 600}, {401}),
        ({"aud": "elsewhere"}, {401, 403}),
        ({"iss": "elsewhere"}, {401}),
        ({"nbf": now + 600}, {401}),
    ):
        token = await stack.sign(claims(stack, jti=f"key_{uuid.uuid4().hex}", **changes))
        answer = await edge.as_user(token).get("/v1/sessions")
        assert answer.status in statuses, (changes, answer)
        assert answer.reason, (changes, answer)


async def test_a_revoked_key_is_refused_at_the_edge(edge: Edge, stack: Stack) -> None:
    created = await edge.post("/v1/keys", {"display_name": "short-lived"})
    user = edge.as_user(created.body["secret"])
    assert (await user.get("/v1/sessions")).status == 200
    await edge.post(f"/v1/keys/{created.body['api_key']['id']}:revoke")
    deadline = time.monotonic() + 10
    while (answer := await user.get("/v1/sessions")).status == 200 and time.monotonic() < deadline:
        pass
    assert answer.status in {401, 403}
    assert answer.reason


async def test_a_missing_scope_is_refused_on_both_paths(edge: Edge, stack: Stack) -> None:
    created = await edge.post("/v1/keys", {"display_name": "reader", "scopes": ["sessions.read"]})
    reader = edge.as_user(created.body["secret"])
    assert (await reader.get("/v1/sessions")).status == 200
    answer = await reader.post("/v1/sessions", {"persona": "guide"})
    assert (answer.status, answer.reason) == (403, "SCOPE_MISSING")
    generic = await reader.post("/soma.orchestrator.v1.Sessions/CreateSession", {"persona": "guide"})
    assert generic.status == 403
    credentials = grpc.ssl_channel_credentials(stack.ca_file.read_bytes())
    async with grpc.aio.secure_channel(stack.grpc_target, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service_pb2_grpc.SessionsStub(channel).CreateSession(
                service_pb2.CreateSessionRequest(),
                metadata=(("authorization", f"Bearer {created.body['secret']}"),),
            )
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_body_that_names_another_tenant_is_refused(edge: Edge) -> None:
    answer = await edge.post("/v1/sessions", {"persona": "guide", "tenant": "tnt_" + "0" * 32})
    assert (answer.status, answer.reason) == (403, "TENANT_MISMATCH")


async def test_mesh_methods_are_not_reachable_through_the_edge(edge: Edge) -> None:
    for method in ("soma.mesh.v1.ControlPlane/GetMeshStatus", "soma.audit.v1.Records/AppendRecords",
                   "soma.policy.v1.Bundles/WatchBundle", "soma.identity.v1.Trust/WatchTrust",
                   "soma.mesh.v1.Introspection/GetStats"):  # fmt: skip
        answer = await edge.post(f"/{method}")
        assert answer.status in {403, 404}, (method, answer)


def other_authority(workload: str) -> tuple[bytes, bytes, bytes]:
    """Key, chain and root of an authority that nobody here trusts."""
    now = datetime.datetime.now(datetime.UTC)
    root = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere")])
    build = lambda name, key: (  # noqa: E731 - two certificates, alike but for name and key
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )  # fmt: skip
    authority = build(issuer, root).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    leaf = build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, workload)]), leaf_key).add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://soma/{workload}")]),
        critical=False,
    )
    pem = serialization.Encoding.PEM
    key = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = leaf.sign(root, hashes.SHA256()).public_bytes(pem)
    return key, chain, authority.sign(root, hashes.SHA256()).public_bytes(pem)


async def probe(
    stack: Stack, process: str, *, key: bytes | None, chain: bytes | None
) -> grpc.aio.AioRpcError:
    """Call a service port directly; returns the failure."""
    authority = (stack.home / "pki" / "edge" / "ca.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    options = (("grpc.ssl_target_name_override", f"{process}.soma"),)
    async with grpc.aio.secure_channel(await stack.address(process), credentials, options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service_pb2_grpc.SessionsStub(channel).ListSessions(
                service_pb2.ListSessionsRequest(), timeout=5,
                metadata=(("authorization", f"Bearer {stack.api_key}"),),
            )  # fmt: skip
    return raised.value


async def test_a_service_port_refuses_callers_without_a_certificate_of_the_mesh(stack: Stack) -> None:
    without = await probe(stack, "orchestrator", key=None, chain=None)
    assert without.code() is grpc.StatusCode.UNAVAILABLE
    key, chain, _root = other_authority("edge")
    foreign = await probe(stack, "orchestrator", key=key, chain=chain)
    assert foreign.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_workload_that_the_mesh_policy_does_not_list_is_refused_with_its_reason(stack: Stack) -> None:
    folder = stack.home / "pki" / "memory"
    error = await probe(
        stack, "orchestrator", key=(folder / "key.pem").read_bytes(), chain=(folder / "cert.pem").read_bytes()
    )
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert read(error).reason == "WORKLOAD_DENIED"


def every_workload_method() -> list[str]:
    """Every RPC of the contracts, as `/package.Service/Method`."""
    image = FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    return [f"/{f.package}.{s.name}/{m.name}" for f in image.file if f.package.startswith("soma.")
            for s in f.service for m in s.method]  # fmt: skip


async def test_no_rpc_answers_without_a_token(edge: Edge) -> None:
    nobody = edge.as_user("")
    public = {"IssueToken", "GetJwks", "GetHealth", "GetOpenApi", "GetDocs"}
    for path in every_workload_method():
        if path.rsplit("/", 1)[1] in public:
            continue
        answer = await nobody.post(path)
        assert answer.status in {401, 403, 404}, (path, answer)
        assert isinstance(answer.body, dict), (path, answer)
