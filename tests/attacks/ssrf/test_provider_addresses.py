# ruff: noqa: E501, RUF001 - a table of cases reads better with a case on a line; strange letters are the attack
"""Addresses of providers, which a tenant writes: none reaches this machine, its networks or a file.

Each is given to the running platform in the place of a provider's address, and the model is then asked
whether it is there. A real server listens where the address leads; nobody may come.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from mesh.inference.addresses import AddressPolicy
from mesh.inference.http import ProviderHttp
from mesh.runtime.errors import SomaError
from tests.attacks.ssrf.listener import Listener, listening
from tests.support.edge import Edge
from tests.support.ports import free_port
from tests.support.stack import Stack

CREATE = "/soma.slm.v1.Models/CreateModel"
CHECK = "/soma.slm.v1.Models/CheckModel"
HOSTS = (
    "127.0.0.1", "127.1", "127.0.1", "0x7f000001", "0x7f.0x0.0x0.0x1", "2130706433", "0177.0.0.1", "017700000001",
    "127.0.0.1.", "localhost", "localhost.", "LOCALHOST", "localhost.localdomain", "ip6-localhost", "0.0.0.0", "0",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::1%25lo]", "[fe80::1%25lo]", "127.0.0.1%00.example.com",
    "127。0。0。1", "127．0．0．1", "①②⑦.⓪.⓪.①", "ⓛocalhost", "user@127.0.0.1", "example.com@127.0.0.1",
    "127.0.0.1#@example.com", "example.com\\@127.0.0.1", "127.0.0.1\\@example.com", "127.0.0.1/?@example.com",
    "169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "100.100.100.200", "10.0.0.1", "192.168.1.1",
    "172.16.0.1", "198.18.0.1", "192.0.2.1", "240.0.0.1", "255.255.255.255", "224.0.0.1", "100.64.0.1",
)  # fmt: skip
URLS = (
    "file:///etc/passwd", "gopher://127.0.0.1:{port}/_GET", "ftp://127.0.0.1:{port}/", "dict://127.0.0.1:{port}/",
    "unix:///run/supervisor.sock", "http+unix://%2Frun%2Fsupervisor.sock/", "//127.0.0.1:{port}/",
    "https:127.0.0.1:{port}", "https:/127.0.0.1:{port}/", "https:///127.0.0.1:{port}/", "http:127.0.0.1:{port}",
    "https://127.0.0.1:{port}\r\nhost: x/", "https://127.0.0.1:{port}/\r\n\r\nGET / HTTP/1.1",
    "https://127.0.0.1\t:{port}/", " https://127.0.0.1:{port}/", "https://127.0.0.1:{port}/\x00",
    "HTTPS://127.0.0.1:{port}/", "https://127.0.0.1:{port}?x", "https://@127.0.0.1:{port}/",
    "https://127.0.0.1: {port}/", "https://[::1]:{port}/", "https://[::1/", "https://]/", "https://", "javascript:1",
)  # fmt: skip


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as made:
        yield made


async def _try(edge: Edge, url: str, provider: str) -> tuple[int, Any]:
    """Make a profile with the address and ask whether its model is there; give the last answer."""
    name = f"m{uuid.uuid4().hex[:20]}"
    model = {"name": name, "provider": provider, "task": "TASK_GENERATE", "provider_model": "m", "base_url": url,
             "context_tokens": 1024, "max_output_tokens": 64}  # fmt: skip
    made = await edge.post(CREATE, {"model": model, "api_key": "sk-secret"})
    if made.status != 200:
        return made.status, made.body
    checked = await edge.post(CHECK, {"name": name})
    assert checked.status == 200, checked
    return 200, checked.body


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_no_way_of_writing_a_private_address_leads_there(
    edge: Edge, listener: Listener, scheme: str
) -> None:
    for host in HOSTS:
        status, body = await _try(edge, f"{scheme}://{host}:{listener.port}/v1", "PROVIDER_OPENAI")
        assert status in (200, 400, 403), (host, status, body)
        assert not body.get("ready"), (host, body)
        assert scheme == "https" or status != 200, (host, body)
    assert listener.seen == []


async def test_no_scheme_and_no_trick_of_an_url_leads_anywhere(edge: Edge, listener: Listener) -> None:
    for url in URLS:
        status, body = await _try(edge, url.format(port=listener.port), "PROVIDER_ANTHROPIC")
        assert status in (200, 400, 403), (url, status, body)
        assert not body.get("ready"), (url, body)
    assert listener.seen == []


async def test_our_own_servers_are_no_providers(edge: Edge, stack: Stack) -> None:
    for process in await stack.processes():
        for host in ("localhost.", "[::ffff:127.0.0.1]", process.address.rpartition(":")[0]):
            port = process.address.rpartition(":")[2]
            status, body = await _try(edge, f"https://{host}:{port}/v1", "PROVIDER_OPENAI")
            assert not body.get("ready"), (process.name, status, body)


class _Rebinding(AbstractResolver):
    """Names that lead outside when they are looked at, and inside when they are used."""

    def __init__(self, port: int) -> None:
        self.asked = 0
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0,
                          flags=socket.AI_NUMERICHOST)
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is held."""


async def test_a_name_that_resolves_to_this_machine_when_it_is_used_is_refused(listener: Listener) -> None:
    policy, names = AddressPolicy(), _Rebinding(listener.port)
    connector = aiohttp.TCPConnector(resolver=names, socket_factory=policy.socket_for, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        http = ProviderHttp(session, policy)
        with pytest.raises(SomaError) as refused:
            await http.get("https://api.openai.com/v1", model="m", headers={}, timeout=10)
    assert refused.value.reason == "PROVIDER_REFUSED"
    assert names.asked
    assert listener.seen == []


async def test_a_redirect_is_not_followed(listener: Listener) -> None:
    location = f"location: http://127.0.0.1:{listener.port}/"
    answer = f"HTTP/1.1 307 Elsewhere\r\n{location}\r\ncontent-length: 0\r\n\r\n".encode()

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()
        writer.close()

    port = free_port()
    async with (
        await asyncio.start_server(redirect, "127.0.0.1", port),
        ProviderHttp.open(AddressPolicy(allow_loopback=True)) as http,
    ):
        with pytest.raises(SomaError):
            await http.get(f"http://127.0.0.1:{port}/", model="m", headers={}, timeout=10)
    assert listener.seen == []
