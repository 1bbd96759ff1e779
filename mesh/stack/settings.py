"""The settings of a stack, from the environment and from its last start.

A plain dataclass: pydantic-settings would add a quarter of a second to each `soma status`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mesh.stack.errors import Code, StackError
from mesh.stack.home import Home, write_atomically
from mesh.stack.ports import DEFAULT_BASE, Ports

EXTERNAL: Mapping[str, str] = {
    "postgres": "SOMA_POSTGRES_URL",
    "redis": "SOMA_REDIS_URL",
    "kafka": "SOMA_KAFKA_BOOTSTRAP",
    "temporal": "SOMA_TEMPORAL_ADDRESS",
    "triton": "SOMA_TRITON_URL",
    "vectors": "SOMA_QDRANT_URL",
}
PASSED_ON = (
    "SOMA_OTLP_ENDPOINT",
    "SOMA_TRACE_RATIO",
    "SOMA_LOG_LEVEL",
    "SOMA_TRITON_HTTP_URL",
    "SOMA_QDRANT_API_KEY",
    "SOMA_PROVIDER_LOOPBACK",
    "SOMA_PROVIDER_PRIVATE",
    "SOMA_POLICY_VALID_SECONDS",
    "SOMA_POLICY_SIGN_EVERY_SECONDS",
    "SOMA_FIRST_TENANT_NAME",
    "SOMA_FIRST_USER_EMAIL",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What a stack is started with.

    Attributes:
        home: its folders.
        ports: its ports.
        external: servers that run elsewhere, by name, with their addresses; none of them is started.
        passed_on: settings that go to every process as they are.
        coverage: measure the Python processes (`SOMA_COVERAGE` names coverage's configuration).
    """

    home: Home
    ports: Ports
    external: Mapping[str, str] = field(default_factory=dict)
    passed_on: Mapping[str, str] = field(default_factory=dict)
    coverage: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> StackSettings:
        """Read the environment; what it leaves out comes from the home's last start.

        Raises:
            StackError: a setting has no meaning.
        """
        home = Home.from_environment(environment)
        last = _remembered(home.remembered)
        base = environment.get("SOMA_PORT_BASE") or str(last.get("port_base", DEFAULT_BASE))
        if "SOMA_LIB" not in environment and "lib" in last:
            home = Home(root=home.root, lib=Path(str(last["lib"])))
        try:
            ports = Ports(int(base))
        except ValueError as error:
            raise StackError(
                f"SOMA_PORT_BASE={base}: {error}",
                fix="set it to a number such as 18000",
                code=Code.BAD_SETTING,
            ) from error
        return cls(
            home=home,
            ports=ports,
            external={
                server: environment[name] for server, name in EXTERNAL.items() if environment.get(name)
            },
            passed_on={n: environment[n] for n in PASSED_ON if environment.get(n)},
            coverage=environment.get("SOMA_COVERAGE") or None,
        )

    def remember(self) -> None:
        """Keep what later commands in other shells need to find this stack."""
        kept = {"port_base": self.ports.base, "lib": str(self.home.lib)}
        write_atomically(self.home.remembered, json.dumps(kept) + "\n")


def _remembered(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StackError(
            f"{path} is damaged: {error}", fix=f"remove {path}", code=Code.BAD_SETTING
        ) from error
    return content if isinstance(content, dict) else {}
