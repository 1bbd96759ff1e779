"""Envoy's messages: from dictionaries to protobuf, by envoy-data-plane.

Imported only when something must be encoded: with what it imports it costs a second of processor
time and 20 MB, and a control plane that comes back to an unchanged world needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret

from mesh.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET
from mesh.xds.route_encoding import RouteEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    import betterproto2

    from mesh.envoy.typed import Resource

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

_MESSAGES: Final[dict[str, type[betterproto2.Message]]] = {
    CLUSTER: Cluster,
    ENDPOINTS: ClusterLoadAssignment,
    SECRET: Secret,
    LISTENER: Listener,
}


class MessageEncoder:
    """Encodes resources of every type."""

    def __init__(self, digest: Callable[[Resource], str]) -> None:
        self._routes = RouteEncoder(digest)

    def encode(self, kind: str, resource: Resource) -> bytes:
        """Encode one resource."""
        if kind == ROUTES:
            return self._routes.encode(resource)
        return bytes(_MESSAGES[kind].from_dict(resource))
