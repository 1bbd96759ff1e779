"""The environment of every Python process: `SOMA_*` as `mesh.runtime.settings` reads it.

Credentials are each process's own: its Postgres role, its Redis user, its certificate.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mesh.stack.catalogue import WORKLOADS, Kind, Workload
from mesh.stack.home import CHECKOUT
from mesh.stack.ports import LOOPBACK
from mesh.stack.secret_files import secret
from mesh.stack.settings import StackSettings

DATABASE = "soma"
START_SECONDS = 110
"""How long a process waits for what it stands on: a server has 120 s to start (`keeper.START_LIMIT`), and
who waits for it must not give up before, or a slow machine never gets all of them up together."""
QDRANT_KEY, QDRANT_CLIENT = "SOMA_QDRANT_API_KEY", "memory"
GRPC_POLLING = {"GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener"}
"""The thread that waits for a call's events reads the sockets itself, as gRPC did before its event engine,
whose threads hand every event on: 18 % less CPU of a call and a fifth less time for it (ADR 0021). It is
read when gRPC is loaded, so it cannot be set later."""
PASSED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


@dataclass(frozen=True, slots=True)
class Environment:
    """Makes environments for the processes of one stack."""

    settings: StackSettings
    code: Path = CHECKOUT

    def of_python(self) -> dict[str, str]:
        """Give what any Python process and step needs: import roots, home, coverage."""
        home = self.settings.home
        environment = {name: os.environ[name] for name in PASSED if name in os.environ}
        environment |= {
            "PATH": f"{home.venv / 'bin'}:{environment.get('PATH', os.defpath)}",
            "PYTHONPATH": f"{self.code}:{self.code / 'gen' / 'python'}",
            "PYTHONUNBUFFERED": "1",
            # Children are started by fork and exec; gRPC's own fork handlers would only get in the way.
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            **GRPC_POLLING,
            "VIRTUAL_ENV": str(home.venv),
            "SOMA_HOME": str(home.root),
            "SOMA_LIB": str(home.lib),
            "SOMA_PORT_BASE": str(self.settings.ports.base),
            **self.settings.passed_on,
        }
        if self.settings.coverage:
            environment["COVERAGE_PROCESS_START"] = self.settings.coverage
            environment["COVERAGE_FILE"] = os.environ.get("COVERAGE_FILE", str(home.root / ".coverage"))
        return environment

    def of_workload(
        self, workload: Workload, *, process: str, listen: int, metrics: int, version: str
    ) -> dict[str, str]:
        """Give a workload's whole environment.

        Args:
            workload: who it is.
            process: its process name; a canary's differs from the workload's.
            listen: port of its gRPC listener.
            metrics: port of its metrics listener.
            version: `stable` or `canary`.
        """
        keys = {QDRANT_KEY: self.qdrant_key()} if workload.name == QDRANT_CLIENT else {}
        return self.of_python() | {
            "SOMA_PROCESS": process,
            "SOMA_WORKLOAD": workload.name,
            "SOMA_LISTEN": f"{LOOPBACK}:{listen}",
            "SOMA_METRICS_LISTEN": f"{LOOPBACK}:{metrics}",
            "SOMA_PKI_DIR": str(self.settings.home.pki / workload.name),
            "SOMA_VERSION_LABEL": version,
            "SOMA_START_SECONDS": str(START_SECONDS),
            **self.servers(workload),
            **keys,
        }

    def servers(self, workload: Workload) -> dict[str, str]:
        """Give the addresses of all servers with the workload's own credentials."""
        external, ports = self.settings.external, self.settings.ports
        return {
            "SOMA_POSTGRES_URL": self.postgres_url(workload.role),
            "SOMA_REDIS_URL": self.redis_url(workload.name),
            "SOMA_KAFKA_BOOTSTRAP": external.get("kafka", ports.address("kafka")),
            "SOMA_TEMPORAL_ADDRESS": external.get("temporal", ports.address("temporal")),
            "SOMA_QDRANT_URL": external.get("vectors", ports.address("vectors")),
            "SOMA_TRITON_URL": external.get("triton", ports.address("triton")),
            "SOMA_TRITON_HTTP_URL": self.settings.passed_on.get(
                "SOMA_TRITON_HTTP_URL", f"http://{ports.address('triton-http')}"
            ),
            "SOMA_PEERS": json.dumps(self.peers()),
            "SOMA_PEERS_FILE": str(self.settings.home.peers),
        } | ({"SOMA_QDRANT_API_KEY": self.vectors_key()} if "vectors" in workload.stands_on else {})

    def qdrant_key(self) -> str:
        """Give the API key of the vector server; that of one elsewhere is given with its address."""
        if "vectors" in self.settings.external:
            return os.environ.get(QDRANT_KEY, "")
        return secret(self.settings.home.secrets, "qdrant-api-key")

    def peers(self) -> dict[str, str]:
        """Give the gRPC target of every service and of the control plane."""
        return {
            one.name: f"ipv4:{self.settings.ports.address(one.name)}"
            for one in WORKLOADS
            if one.kind is not Kind.WORKER
        }

    def vectors_key(self) -> str:
        """Give the key of the vector server: the given one, where it runs elsewhere."""
        given = self.settings.passed_on.get("SOMA_QDRANT_API_KEY")
        return given or secret(self.settings.home.secrets, "qdrant-api-key")

    def postgres_url(self, role: str) -> str:
        """Give the database's address with a role's password."""
        password = secret(self.settings.home.secrets, f"postgres-{role}")
        given = self.settings.external.get("postgres")
        if given is None:
            address = self.settings.ports.address("postgres")
            return f"postgresql://{role}:{password}@{address}/{DATABASE}"
        return _as_user(given, role, password, path=f"/{DATABASE}")

    def redis_url(self, user: str) -> str:
        """Give Redis's address with a user's password."""
        password = secret(self.settings.home.secrets, f"redis-{user}")
        given = self.settings.external.get("redis")
        if given is None:
            return f"redis://{user}:{password}@{self.settings.ports.address('redis')}/0"
        return _as_user(given, user, password)


def _as_user(url: str, user: str, password: str, *, path: str | None = None) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        parts._replace(netloc=f"{user}:{password}@{place}", path=parts.path if path is None else path)
    )
