"""A real Envoy that takes its configuration from a real control plane, for the tests of the edge."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import envoy

from mesh.pki.folder import PkiFolder

ROOT = Path(__file__).resolve().parents[2]
_SPAN = 110


def free_base(start: int = 23000) -> int:
    """A base with the ports of an edge and its upstreams free, below the ephemeral ones."""
    for base in range(start + (os.getpid() % 40) * 200, 32000, 200):
        try:
            for offset in (0, 1, 2, 15, *range(20, 27), 40, 70):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        return base
    raise RuntimeError("no free ports")


@dataclass(slots=True)
class RealEdge:
    """Control plane and Envoy over one folder."""

    home: Path
    base: int = field(default_factory=free_base)
    dialect: str = "DELTA_GRPC"
    environment: dict[str, str] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Plain HTTP on loopback."""
        return f"http://127.0.0.1:{self.base}"

    @property
    def tls(self) -> str:
        """host:port of TLS."""
        return f"localhost:{self.base + 1}"

    @property
    def ca(self) -> bytes:
        """The root that clients trust."""
        return (self.home / "pki" / "ca.pem").read_bytes()

    def address(self, offset: int) -> str:
        """host:port of an upstream."""
        return f"127.0.0.1:{self.base + offset}"

    def prepare(self) -> None:
        """Make folder, certificates and an empty list of members."""
        for name in ("run", "log", "data"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        PkiFolder(self.home / "pki").initialise()
        self.members([])

    def members(self, rows: Sequence[tuple[str, str, str, int]]) -> None:
        """List (process, service, version, offset) as the launcher does."""
        listed = [
            {
                "process": process,
                "service": service,
                "version": version,
                "address": self.address(offset),
                "metrics_address": "",
            }
            for process, service, version, offset in rows
        ]
        path = self.home / "run" / "endpoints.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(listed))
        temporary.replace(path)

    def start_control_plane(self) -> None:
        """Start `python -m mesh.xds`."""
        self._start("xds", [sys.executable, "-m", "mesh.xds"])

    def start_envoy(self) -> None:
        """Start Envoy with a bootstrap made as the launcher makes it."""
        made = subprocess.run(
            [
                *(sys.executable, "-m", "mesh.envoy.bootstrap", "--home", str(self.home)),
                *("--xds-port", str(self.base + 15), "--admin-port", str(self.base + 2)),
            ],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env=self._environment(),
        )
        bootstrap = self.home / "run" / "bootstrap.yaml"
        bootstrap.write_bytes(made.stdout.replace(b"DELTA_GRPC", self.dialect.encode()))
        program = str(Path(envoy.__file__).parent / "_bin" / "envoy")
        flags = ["--concurrency", "1", "--disable-hot-restart", "-l", "warn", "--drain-time-s", "1"]
        self._start("envoy", [program, "-c", str(bootstrap), *flags])

    def kill(self, name: str) -> None:
        """End a process at once, as a crash would."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def ended(self, name: str, *, seconds: float) -> int:
        """Wait until a process ended by itself; give its exit code."""
        return self._processes.pop(name).wait(timeout=seconds)

    def stop(self) -> None:
        """End everything in order."""
        for name in ("envoy", "xds"):
            if name in self._processes:
                process = self._processes.pop(name)
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=15)

    def log(self, name: str) -> str:
        """What a process wrote."""
        return (self.home / "log" / f"{name}.log").read_text()

    async def admin(self, path: str) -> str:
        """GET from Envoy's administration."""
        url = f"http://127.0.0.1:{self.base + 2}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    async def until(self, path: str, status: int, *, token: str = "", seconds: float = 30) -> None:
        """Wait until a GET is answered with a status."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        seen: object = None
        for _ in range(int(seconds / 0.1)):
            try:
                async with aiohttp.ClientSession() as s, s.get(self.url + path, headers=headers) as answer:
                    seen = answer.status, await answer.text()
                    if answer.status == status:
                        return
            except aiohttp.ClientError as error:
                seen = error
            await asyncio.sleep(0.1)
        raise AssertionError(f"{path}: {seen} after {seconds} s\n{self.log('envoy')[-3000:]}")

    def _start(self, name: str, command: list[str]) -> None:
        with (self.home / "log" / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=self._environment(), stdout=log, stderr=log
            )

    def _environment(self) -> dict[str, str]:
        peers = {"identity": f"ipv4:{self.address(20)}"}
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}",
            "SOMA_HOME": str(self.home),
            "SOMA_PORT_BASE": str(self.base),
            "SOMA_PROCESS": "xds",
            "SOMA_WORKLOAD": "xds",
            "SOMA_LISTEN": self.address(15),
            "SOMA_METRICS_LISTEN": self.address(70),
            "SOMA_PKI_DIR": str(self.home / "pki" / "xds"),
            "SOMA_PEERS": json.dumps(peers),
            **self.environment,
        }
