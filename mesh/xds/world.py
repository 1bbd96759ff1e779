"""The state of the world: every resource of a snapshot, encoded, with its versions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mesh.envoy.clusters import clusters, load_assignments
from mesh.envoy.listeners import listeners
from mesh.envoy.routes import route_configurations
from mesh.envoy.secrets import secrets
from mesh.xds.encoding import Encoded, Encoder
from mesh.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mesh.envoy.snapshot import Snapshot
    from mesh.envoy.typed import Resource

_MAKERS: Final[dict[str, Callable[[Snapshot], list[Resource]]]] = {
    CLUSTER: clusters,
    ENDPOINTS: load_assignments,
    SECRET: secrets,
    LISTENER: listeners,
    ROUTES: route_configurations,
}
# Make before break: what is pointed to goes out before what points to it.
ORDER: Final = tuple(_MAKERS)
# An empty subscription to these means all of them.
WILDCARD: Final = frozenset({CLUSTER, LISTENER})


@dataclass(frozen=True, slots=True)
class World:
    """Resources by type and name, and a version of each type that depends on content only."""

    resources: Mapping[str, Mapping[str, Encoded]]
    versions: Mapping[str, str]

    def of(self, kind: str) -> Mapping[str, Encoded]:
        """The resources of a type; none of a type that we do not serve."""
        return self.resources.get(kind, {})

    def version(self, kind: str) -> str:
        """The version of a type."""
        return self.versions.get(kind, "0")


def build_world(snapshot: Snapshot, encoder: Encoder) -> World:
    """Make and encode everything; what did not change is not encoded again."""
    resources = {kind: encoder.encode(kind, make(snapshot)) for kind, make in _MAKERS.items()}
    versions = {kind: _version(found) for kind, found in resources.items()}
    return World(resources, versions)


def _version(resources: Mapping[str, Encoded]) -> str:
    text = "".join(f"{name}={found.version};" for name, found in sorted(resources.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def short(kind: str) -> str:
    """The last part of a type's name, for people."""
    return kind.rsplit(".", 1)[-1]
