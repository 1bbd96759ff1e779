"""Every port of the mesh lets in who proves to be a workload, over TLS 1.2 or later, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from soma.options.v1 import options_pb2

from mesh.pki.workloads import BY_NAME
from mesh.runtime.authorization import Authorization
from mesh.runtime.certificates import Certificates
from mesh.runtime.channels import MeshChannel
from mesh.runtime.contract import contract_of
from tests.attacks.calls import Rpc, by_grpc, every_rpc
from tests.attacks.certificates.forge import (
    Issuer,
    Pair,
    Shape,
    leaf,
    let_in_as_nobody,
    not_let_in,
    self_made,
)
from tests.attacks.doors import Outcome
from tests.support.identity import channel_as
from tests.support.stack import Stack

AT_ONCE = 8
SERVICES = ("identity", "policy", "orchestrator", "memory", "slm", "gateway", "audit")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04" + b"\x00" * 5
SETTINGS = b"\x04"
"""HTTP/2's first frame from a server (RFC 9113, 6.5)."""


@pytest.fixture(scope="module")
async def ports(stack: Stack) -> dict[str, str]:
    """The mTLS ports of all our processes by their workload."""
    names = [row for row in await stack.processes() if row.name in BY_NAME]
    return {row.name: row.address for row in names if row.name not in {"envoy", "kafka"}}


@contextlib.asynccontextmanager
async def connected(
    stack: Stack, server: str, address: str, pair: Pair | None
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a port with a certificate; without retries."""
    root = (stack.settings.home.pki / "ca.pem").read_bytes()
    key, chain = (pair.key, pair.chain) if pair else (None, None)
    options = (("grpc.ssl_target_name_override", f"{server}.soma"), ("grpc.enable_retries", 0),
               ("grpc.use_local_subchannel_pool", 1))  # fmt: skip
    async with grpc.aio.secure_channel(
        address, grpc.ssl_channel_credentials(root, key, chain), options
    ) as made:
        yield made


async def health(channel: grpc.aio.Channel) -> grpc.StatusCode:
    """What a port answers to the one question that every workload may ask."""
    try:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_a_right_certificate_is_let_in(stack: Stack, ports: dict[str, str]) -> None:
    """What follows could not fail otherwise; the forge makes right ones as well."""
    assert len(ports) >= 10
    pair = leaf(Issuer.of(stack.settings.home.pki), Shape())
    for server, address in ports.items():
        async with connected(stack, server, address, pair) as channel:
            assert await health(channel) is grpc.StatusCode.OK, server


async def test_no_port_ends_a_handshake_with_a_wrong_certificate(stack: Stack, ports: dict[str, str]) -> None:
    pairs: dict[str, Pair | None] = {"no certificate": None}
    pairs |= {name: make() for name, make in not_let_in(stack.settings.home.pki).items()}
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(server: str, address: str, name: str) -> str:
        async with gate, connected(stack, server, address, pairs[name]) as channel:
            code = await health(channel)
        return "" if code is grpc.StatusCode.UNAVAILABLE else f"{server} takes {name}: {code}"

    wrong = await asyncio.gather(*(one(*port, name) for port in ports.items() for name in pairs))
    assert not [found for found in wrong if found], "\n".join(filter(None, wrong))


async def test_who_names_no_workload_of_the_mesh_may_call_nothing(
    stack: Stack, ports: dict[str, str]
) -> None:
    """Its chain is right, so that the handshake ends well; what it then asks is refused."""
    pairs = let_in_as_nobody(stack.settings.home.pki)
    gate = asyncio.Semaphore(AT_ONCE)
    metadata = (("authorization", f"Bearer {stack.api_key}"),)

    async def one(server: str, address: str, name: str) -> list[str]:
        async with gate, connected(stack, server, address, pairs[name]) as channel:
            asked = [
                (rpc, await by_grpc(channel, rpc, rpc.request(), metadata)) for rpc in served_by(server)[:2]
            ]
        return [f"{server} takes {name} for {rpc}: {got}" for rpc, got in asked if not denied(got)]

    wrong = await asyncio.gather(*(one(*port, name) for port in ports.items() for name in pairs))
    assert not any(wrong), "\n".join(found for each in wrong for found in each)


def denied(outcome: Outcome) -> bool:
    """Whether the mesh policy refused, or the handshake itself."""
    return (outcome.status, outcome.reason) == (403, "WORKLOAD_DENIED") or outcome.status == 503


def served_by(server: str) -> list[Rpc]:
    """What a process serves, by the contracts."""
    introspection = [
        rpc for rpc in every_rpc() if rpc.path.startswith("/soma.mesh.v1.Introspection/GetStats")
    ]
    package = "mesh" if server == "xds" else server
    own = [rpc for rpc in every_rpc() if rpc.path.startswith(f"/soma.{package}.v1.")]
    return [rpc for rpc in own if not rpc.descriptor.client_streaming] + introspection


async def test_each_workload_may_call_what_the_mesh_policy_lists_and_nothing_else(
    stack: Stack, ports: dict[str, str]
) -> None:
    """Every workload at every method of every process that it is not listed for."""
    policy = Authorization.load()
    metadata = (("authorization", f"Bearer {stack.api_key}"), ("x-soma-tenant", stack.tenant))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(caller: str, server: str) -> list[str]:
        wrong = []
        async with gate, channel_as(stack.settings, caller, to=server) as channel:
            for rpc in served_by(server):
                contract = contract_of(rpc.descriptor)
                assert contract is not None
                allowed = policy.callers_of(contract)
                assert allowed is not None
                if caller in allowed or (server == "xds" and "Introspection" in rpc.path):
                    continue
                got = await by_grpc(channel, rpc, rpc.request(), metadata)
                if not denied(got):
                    wrong.append(f"{caller} may call {rpc}: {got}"[:400])
        return wrong

    callers = [name for name in BY_NAME if name != "kafka"]
    found = await asyncio.gather(*(one(caller, server) for caller in callers for server in ports))
    assert not any(found), "\n".join(each for part in found for each in part)


async def test_a_tenant_in_metadata_counts_for_workloads_on_their_own_methods_only(
    stack: Stack, ports: dict[str, str]
) -> None:
    """Neither an edge client nor a workload with somebody's token speaks for another tenant so."""
    other = (await stack.new_tenant()).tenant
    headers = [("authorization", f"Bearer {stack.api_key}"), ("x-soma-tenant", other)]
    for server in SERVICES:
        async with channel_as(stack.settings, "edge", to=server) as channel:
            for rpc in served_by(server):
                contract = contract_of(rpc.descriptor)
                assert contract is not None
                if contract.tenant != options_pb2.TENANT_FROM_TOKEN:
                    continue
                got = await by_grpc(channel, rpc, rpc.request(), tuple(headers))
                assert (got.status, got.reason) == (403, "TENANT_MISMATCH"), (rpc, got)


def handshake(address: str, context: ssl.SSLContext | None, server: str) -> str:
    """Connect, shake hands and say HTTP/2's preface; tell what came of it."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10) as plain:
            made = context.wrap_socket(plain, server_hostname=f"{server}.soma") if context else plain
            with made as wire:
                wire.sendall(PREFACE)
                answer = wire.recv(9)
            return "frames" if answer[3:4] == SETTINGS else "nothing"
    except (OSError, ssl.SSLError) as error:
        return f"refused: {type(error).__name__}"


def tls(pki: Path, *, client: bool = True) -> ssl.SSLContext:
    """A client of the mesh that takes any version and cipher that OpenSSL still has."""
    context = ssl.create_default_context(cafile=pki / "ca.pem")
    if client:
        context.load_cert_chain(pki / "edge" / "cert.pem", pki / "edge" / "key.pem")
    context.set_alpn_protocols(["h2"])
    return context


async def test_no_port_speaks_plain_text_or_old_tls(stack: Stack, ports: dict[str, str]) -> None:
    pki = stack.settings.home.pki
    old = tls(pki)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # that is the point
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = tls(pki)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("AES128-SHA:AES256-SHA:NULL-SHA256:ECDHE-ECDSA-AES128-SHA:AECDH-NULL-SHA:@SECLEVEL=0")
    for server, address in {**ports, "edge": f"127.0.0.1:{stack.settings.ports.base + 1}"}.items():
        assert "frames" in await asyncio.to_thread(handshake, address, tls(pki), server), server
        for name, context in {"plain text": None, "TLS 1.1": old, "a weak cipher": weak}.items():
            got = await asyncio.to_thread(handshake, address, context, server)
            assert "frames" not in got, (server, name, got)


async def test_a_port_without_the_protocol_in_the_handshake_speaks_nothing_else(
    stack: Stack, ports: dict[str, str]
) -> None:
    """ALPN that is absent or another is refused, or HTTP/2 is spoken nevertheless: never HTTP/1."""
    pki = stack.settings.home.pki
    for server, address in ports.items():
        for protocols in ([], ["http/1.1"], ["spdy/3"]):
            context = tls(pki)
            if protocols:
                context.set_alpn_protocols(protocols)
            else:
                context = ssl.create_default_context(cafile=pki / "ca.pem")
                context.load_cert_chain(pki / "edge" / "cert.pem", pki / "edge" / "key.pem")
            got = await asyncio.to_thread(http1, address, context, server)
            assert not got.startswith(b"HTTP/1"), (server, protocols, got)


def http1(address: str, context: ssl.SSLContext, server: str) -> bytes:
    """Ask in HTTP/1.1; give the first bytes of what comes."""
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=f"{server}.soma") as wire,
        ):
            wire.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            return wire.recv(64)
    except (OSError, ssl.SSLError):
        return b""


@pytest.mark.parametrize(
    "name", ["another workload", "no names", "another authority", "expired", "for clients only"]
)
async def test_a_client_refuses_a_server_that_is_not_who_it_should_be(stack: Stack, name: str) -> None:
    """A server with a stolen or forged certificate in the place of memory gets no call."""
    pki = stack.settings.home.pki
    ours = Issuer.of(pki)
    right = Shape(common_name="memory", uris=("spiffe://soma/memory",), names=("memory.soma",))
    forged = {
        "another workload": lambda: leaf(ours, Shape(names=("slm.soma",), uris=("spiffe://soma/slm",))),
        "no names": lambda: leaf(ours, Shape(names=(), uris=())),
        "another authority": lambda: leaf(self_made(), right),
        "expired": lambda: leaf(ours, replace(right, begins=timedelta(days=-2), ends=timedelta(days=-1))),
        "for clients only": lambda: leaf(ours, replace(right, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))),
    }
    assert await _call_server(stack, forged[name]()) is grpc.StatusCode.UNAVAILABLE
    assert await _call_server(stack, leaf(ours, right)) is grpc.StatusCode.UNIMPLEMENTED


async def _call_server(stack: Stack, pair: Pair) -> grpc.StatusCode:
    """Serve nothing under a certificate; give what one of our own clients of memory says of it."""
    pki = stack.settings.home.pki
    server = grpc.aio.server()
    credentials = grpc.ssl_server_credentials([(pair.key, pair.chain)], (pki / "ca.pem").read_bytes(), True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    own = Certificates(pki / "orchestrator")
    target = f"ipv4:127.0.0.1:{port}"
    channel = MeshChannel(target=target, workload="memory", certificates=own, max_message_bytes=1 << 20)
    try:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
        return raised.value.code()
    finally:
        await channel.close()
        await server.stop(0)
