"""One running stack that all tests share; they keep apart by tenants of their own.

It attaches to the stack in `SOMA_TEST_HOME` where that is set, else it starts the one that
`SOMA_HOME` and `SOMA_PORT_BASE` describe (`make test` sets both). Faults are real: `kill` is kill -9.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from mesh.stack.client_file import ClientFile
from mesh.stack.home import Home
from mesh.stack.settings import StackSettings

ROOT = Path(__file__).resolve().parents[2]
PAUSE = 0.1
READY_SECONDS = 60.0
COMMAND_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """A row of `soma status`."""

    name: str
    kind: str
    pid: int | None
    address: str
    state: str
    restarts: int
    rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant of a test's own, and the key of its first user."""

    tenant: str
    user: str
    api_key: str = field(repr=False)


class CommandFailedError(Exception):
    """A `soma` command did not end with 0."""

    def __init__(self, arguments: tuple[str, ...], code: int, output: str) -> None:
        super().__init__(f"soma {' '.join(arguments)} ended with {code}:\n{output[-3000:]}")
        self.code = code
        self.output = output


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that runs."""

    settings: StackSettings
    client: ClientFile

    @property
    def home(self) -> Path:
        return self.settings.home.root

    @property
    def edge_url(self) -> str:
        return self.client.edge_url

    @property
    def tls_url(self) -> str:
        return self.client.edge_tls_url

    @property
    def grpc_target(self) -> str:
        return self.client.grpc_target

    @property
    def ca_file(self) -> Path:
        return Path(self.client.ca_file)

    @property
    def api_key(self) -> str:
        return self.client.api_key

    @property
    def tenant(self) -> str:
        return self.client.tenant

    def environment(self) -> dict[str, str]:
        """What `soma status -o env` exports, and what finds this stack."""
        return {
            "SOMA_HOME": str(self.home),
            "SOMA_LIB": str(self.settings.home.lib),
            "SOMA_PORT_BASE": str(self.settings.ports.base),
            "SOMA_EDGE_URL": self.edge_url,
            "SOMA_EDGE_TLS_URL": self.tls_url,
            "SOMA_GRPC_TARGET": self.grpc_target,
            "SOMA_CA_FILE": str(self.ca_file),
            "SOMA_API_KEY": self.api_key,
            "SOMA_TENANT": self.tenant,
        }

    async def processes(self) -> list[ProcessRow]:
        """Every process, probed now."""
        return await processes(self.settings)

    async def process(self, name: str) -> ProcessRow:
        """One process."""
        return next(one for one in await self.processes() if one.name == name)

    async def kill(self, name: str) -> int:
        """Kill -9 a process; return its pid once the supervisor has seen it die."""
        row = await self.process(name)
        assert row.pid is not None, f"{name} does not run"
        os.kill(row.pid, signal.SIGKILL)
        while (await self.process(name)).pid == row.pid:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(PAUSE / 5)
        return row.pid

    async def restart(self, name: str) -> None:
        """Stop a process in order and wait until it is ready again."""
        await soma(self.settings, "restart", name)

    async def ready(self, *, seconds: float = READY_SECONDS) -> None:
        """Wait until every process is ready."""
        until = time.monotonic() + seconds
        while missing := [one for one in await self.processes() if one.state != "ready"]:
            assert time.monotonic() < until, f"not ready: {missing}"
            await asyncio.sleep(PAUSE)

    async def new_tenant(self, name: str | None = None) -> Tenant:
        """Make a tenant with a user and a key."""
        return await new_tenant(self.client, name or f"test-{uuid.uuid4().hex[:12]}")

    async def address(self, name: str) -> str:
        """The host and port of a process."""
        return (await self.process(name)).address

    async def sign(self, claims: Mapping[str, object]) -> str:
        """Sign claims with the platform's own key: a token in which only the claims are wrong."""
        return await sign(self.settings, claims)

    async def sign_raw(self, each: Sequence[tuple[Mapping[str, object], str]]) -> list[str]:
        """Sign payloads, whatever they hold, each under a header with changes: the whole list at once."""
        tokens: list[str] = json.loads(
            await _signed(self.settings, [[dict(head), body] for head, body in each])
        )
        return tokens


def address_of(settings: StackSettings, service: str) -> str:
    """The host and port at which a service serves now; a successor of it listens elsewhere."""
    peers = settings.home.peers
    told: dict[str, str] = json.loads(peers.read_bytes()) if peers.exists() else {}
    return told.get(service, settings.ports.address(service)).removeprefix("ipv4:")


async def soma(settings: StackSettings, *arguments: str, extra: Mapping[str, str] | None = None) -> str:
    """Run a `soma` command; give its stdout.

    Raises:
        CommandFailedError: it ended with another code than 0.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mesh.cli", *arguments),
        cwd=ROOT,
        env=environment_of(settings) | dict(extra or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
    if process.returncode:
        raise CommandFailedError(arguments, process.returncode, err.decode() + out.decode())
    return out.decode()


def environment_of(settings: StackSettings) -> dict[str, str]:
    """The environment in which a command finds this stack."""
    return os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}",
        "SOMA_HOME": str(settings.home.root),
        "SOMA_LIB": str(settings.home.lib),
        "SOMA_PORT_BASE": str(settings.ports.base),
    }


async def processes(settings: StackSettings) -> list[ProcessRow]:
    """Every process of a stack."""
    rows: list[dict[str, Any]] = json.loads(await soma(settings, "status", "-o", "json"))
    names = ProcessRow.__dataclass_fields__
    return [ProcessRow(**{key: row[key] for key in names}) for row in rows]


async def new_tenant(client: ClientFile, name: str) -> Tenant:
    """Make a tenant as an operator does: create it, sign its owner in, make a key."""
    owner, password = f"{name}@example.org", uuid.uuid4().hex
    async with aiohttp.ClientSession(base_url=client.edge_url) as http:
        made = await _post(http, "/v1/tenants", client.api_key, display_name=name, owner_email=owner,
                           owner_password=password)  # fmt: skip
        tenant = made["tenant"]["id"]
        grant = {"tenant_id": tenant, "email": owner, "password": password}
        signed_in = await _post(http, "/v1/tokens", "", password=grant)
        key = await _post(http, "/v1/keys", signed_in["access_token"], display_name="tests")
    return Tenant(tenant=tenant, user=made["owner"]["id"], api_key=key["secret"])


async def _post(http: aiohttp.ClientSession, path: str, token: str, **body: object) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with http.post(path, json=body, headers=headers) as answer:
        content: dict[str, Any] = await answer.json()
        assert answer.status < 300, f"POST {path}: {answer.status} {content}"
        return content


async def sign(settings: StackSettings, claims: Mapping[str, object]) -> str:
    """Sign claims with identity's own key (see `tests/support/sign.py`)."""
    return await _signed(settings, dict(claims))


async def _signed(settings: StackSettings, given: object) -> str:
    from mesh.stack.bring_up import first_run_environment

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.sign"),
        cwd=ROOT,
        env=first_run_environment(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    content = json.dumps(given).encode()
    out, err = await asyncio.wait_for(process.communicate(content), COMMAND_SECONDS)
    assert process.returncode == 0, err.decode()
    return out.decode()


def shared_settings() -> StackSettings:
    """Where the shared stack is, or is to be."""
    given = os.environ.get("SOMA_TEST_HOME")
    environment = dict(os.environ)
    if given:
        environment = {k: v for k, v in environment.items() if k not in ("SOMA_PORT_BASE", "SOMA_LIB")}
        environment["SOMA_HOME"] = given
    else:
        environment.setdefault("SOMA_HOME", str(ROOT / ".soma-test"))
        environment.setdefault("SOMA_LIB", str(ROOT / ".soma" / "lib"))
        environment.setdefault("SOMA_PORT_BASE", "22000")
    return StackSettings.from_environment(environment)


async def running() -> Stack:
    """Attach to the shared stack; start it, or what is missing of it, first."""
    settings = shared_settings()
    await soma(settings, "up")
    client = ClientFile.read(settings.home.client)
    assert client is not None, "the first run wrote no client.json"
    return Stack(settings=settings, client=client)


class OwnStacks:
    """Makes settings of stacks that one test has for itself: own folder, own ports."""

    FIRST, STEP = 23000, 200

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = itertools.count()
        self.made: list[StackSettings] = []

    def settings(self) -> StackSettings:
        """Describe one more stack; nothing is started."""
        index = next(self._index)
        shared = shared_settings()
        home = Home(root=self._folder / f"home-{index}", lib=shared.home.lib)
        environment = {
            "SOMA_HOME": str(home.root),
            "SOMA_LIB": str(home.lib),
            "SOMA_PORT_BASE": str(self.FIRST + self.STEP * index),
        }
        made = StackSettings.from_environment(environment)
        self.made.append(made)
        return made

    async def stop(self) -> None:
        """Stop whatever of them runs."""
        for settings in self.made:
            await soma(settings, "down", "--quiet-if-stopped")
