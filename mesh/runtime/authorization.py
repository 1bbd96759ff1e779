"""The mesh policy: which workload may call which method (`mesh/authorization.toml`).

    [[allow]]
    callers = ["edge", "orchestrator"]
    methods = ["soma.memory.v1.Memories/*", "soma.memory.v1.Documents/RetrievePassages"]

Absent or unlisted means refused. gRPC's own health and reflection are open to
every workload of the mesh; channelz to operators only.
"""

import tomllib
from pathlib import Path
from typing import Final

from soma.options.v1 import options_pb2

from mesh.runtime.contract import MethodContract
from mesh.runtime.errors import ConfigurationError

DEFAULT_FILE: Final = Path(__file__).resolve().parent.parent / "authorization.toml"
EDGE: Final = "edge"
OPEN_TO_THE_MESH: Final = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)
_FOR_OPERATORS: Final = frozenset({"grpc.channelz.v1.Channelz"})
_OPERATORS: Final = frozenset({"operator", "supervisor", "xds"})


class Authorization:
    """The allowed callers by method."""

    def __init__(self, rules: dict[str, frozenset[str]]) -> None:
        """Take callers by `package.Service/Method` or `package.Service/*`."""
        self._rules = rules

    @classmethod
    def load(cls, file: Path = DEFAULT_FILE) -> "Authorization":
        """Read the policy; an absent file allows nothing.

        Raises:
            ConfigurationError: the file is not as described above.
        """
        if not file.exists():
            return cls({})
        try:
            return cls.parse(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{file}: {type(error).__name__}: {error}") from error

    @classmethod
    def parse(cls, text: str) -> "Authorization":
        """Read the policy from TOML."""
        rules: dict[str, set[str]] = {}
        document = tomllib.loads(text)
        if unknown := set(document) - {"allow"}:
            raise ValueError(f"unknown keys {sorted(unknown)}")
        for rule in document.get("allow", []):
            if unknown := set(rule) - {"callers", "methods"}:
                raise ValueError(f"unknown keys {sorted(unknown)}")
            for method in rule["methods"]:
                service, slash, name = method.partition("/")
                if not (service and slash and name) or ("*" in method and name != "*"):
                    raise ValueError(f"{method!r} is not package.Service/Method or /*")
                rules.setdefault(method, set()).update(rule["callers"])
        return cls({method: frozenset(callers) for method, callers in rules.items()})

    def callers_of(self, contract: MethodContract) -> frozenset[str] | None:
        """Return who may call a method; None where every workload of the mesh may."""
        if contract.service in OPEN_TO_THE_MESH:
            return None
        if contract.service in _FOR_OPERATORS:
            return _OPERATORS
        nobody: frozenset[str] = frozenset()
        allowed = self._rules.get(f"{contract.service}/*", nobody) | self._rules.get(
            f"{contract.service}/{contract.name}", nobody
        )
        if contract.access == options_pb2.ACCESS_WORKLOAD:
            # Whatever the file says: what the edge passes on comes from outside.
            allowed -= {EDGE}
        return allowed
