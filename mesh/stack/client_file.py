"""`client.json`: what a client on this machine needs to speak to the edge."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mesh.stack.errors import Code, StackError
from mesh.stack.home import Home, write_atomically
from mesh.stack.ports import Ports

VARIABLES: Mapping[str, str] = {
    "edge_url": "SOMA_EDGE_URL",
    "edge_tls_url": "SOMA_EDGE_TLS_URL",
    "grpc_target": "SOMA_GRPC_TARGET",
    "ca_file": "SOMA_CA_FILE",
    "api_key": "SOMA_API_KEY",
    "tenant": "SOMA_TENANT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFile:
    """Addresses of the edge, and the credentials of the first user.

    Attributes:
        edge_url: plain HTTP, on loopback only.
        edge_tls_url: HTTPS with a certificate of `ca_file`.
        grpc_target: host and port of native gRPC over TLS.
        ca_file: the installation's root certificate.
        api_key: of the first user; empty before the first run.
        tenant: of the first user; empty before the first run.
    """

    edge_url: str
    edge_tls_url: str
    grpc_target: str
    ca_file: str
    api_key: str = field(default="", repr=False)
    tenant: str = ""

    @classmethod
    def read(cls, path: Path) -> ClientFile | None:
        """Read the file; None before the first run.

        Raises:
            StackError: it is not what `write` wrote.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{name: str(content[name]) for name in VARIABLES})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StackError(
                f"{path} is damaged", fix="remove it and run `soma up`", code=Code.BAD_SETTING
            ) from error

    @classmethod
    def of(cls, home: Home, ports: Ports, *, api_key: str = "", tenant: str = "") -> ClientFile:
        """Describe a stack's edge."""
        return cls(
            edge_url=f"http://{ports.address('edge-http')}",
            edge_tls_url=f"https://{ports.address('edge-tls')}",
            grpc_target=ports.address("edge-tls"),
            ca_file=str(home.pki / "ca.pem"),
            api_key=api_key,
            tenant=tenant,
        )

    def write(self, path: Path) -> None:
        """Write the file for its owner only."""
        write_atomically(path, json.dumps(asdict(self), indent=1) + "\n")

    def exports(self) -> list[str]:
        """Give shell lines that export every variable."""
        values = asdict(self)
        return [f"export {name}={shlex.quote(values[key])}" for key, name in VARIABLES.items()]
