"""From Envoy-shaped dictionaries to protobuf, once for each content.

Building a route configuration takes tens of milliseconds, so every resource is kept by the hash of
its content; the version of a resource is that hash, equal over restarts and replicas.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

import betterproto2
from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret
from envoy_data_plane.google.protobuf import Any

from mesh.envoy.typed import TYPE_PREFIX, Resource
from mesh.xds.route_encoding import RouteEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable

# A module must be imported before an "@type" of it can be read.
_EXTENSIONS: Final = (
    "config.rbac.v3",
    "config.trace.v3",
    "extensions.access_loggers.file.v3",
    "extensions.access_loggers.filters.cel.v3",
    "extensions.filters.http.buffer.v3",
    "extensions.filters.http.cors.v3",
    "extensions.filters.http.grpc_json_transcoder.v3",
    "extensions.filters.http.grpc_web.v3",
    "extensions.filters.http.jwt_authn.v3",
    "extensions.filters.http.lua.v3",
    "extensions.filters.http.ratelimit.v3",
    "extensions.filters.http.rbac.v3",
    "extensions.filters.http.router.v3",
    "extensions.filters.network.http_connection_manager.v3",
    "extensions.http.early_header_mutation.header_mutation.v3",
    "extensions.request_id.uuid.v3",
    "extensions.retry.host.previous_hosts.v3",
    "extensions.tracers.opentelemetry.samplers.v3",
    "extensions.upstreams.http.v3",
    "type.matcher.v3",
)
for _module in _EXTENSIONS:
    import_module(f"envoy_data_plane.envoy.{_module}")

CLUSTER: Final = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET: Final = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
LISTENER: Final = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
ROUTES: Final = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"

_MESSAGES: Final[dict[str, type[betterproto2.Message]]] = {
    CLUSTER: Cluster,
    ENDPOINTS: ClusterLoadAssignment,
    SECRET: Secret,
    LISTENER: Listener,
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """One resource as it goes over the wire."""

    name: str
    version: str
    resource: Any


class Encoder:
    """Encodes resources and remembers them for as long as the newest state of the world needs them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Encoded] = {}
        self._routes = RouteEncoder(_digest)

    def encode(self, kind: str, resources: Iterable[Resource]) -> dict[str, Encoded]:
        """Encode all resources of one type and forget what it held before."""
        fresh: dict[tuple[str, str], Encoded] = {}
        for resource in resources:
            name = resource.get("name") or resource["cluster_name"]
            digest = _digest(resource)
            known = self._known.get((kind, digest))
            fresh[kind, digest] = known or self._encode(kind, name, digest, resource)
        self._known = {key: value for key, value in self._known.items() if key[0] != kind} | fresh
        return {encoded.name: encoded for encoded in fresh.values()}

    def _encode(self, kind: str, name: str, digest: str, resource: Resource) -> Encoded:
        if kind == ROUTES:
            content = self._routes.encode(resource)
        else:
            content = bytes(_MESSAGES[kind].from_dict(resource))
        return Encoded(name, digest, Any(type_url=kind, value=content))


def _digest(resource: Resource) -> str:
    text = json.dumps(resource, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
