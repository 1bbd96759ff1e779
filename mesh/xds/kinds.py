"""The resource types that edges are sent, by their type URLs."""

from __future__ import annotations

from typing import Final

from mesh.envoy.typed import TYPE_PREFIX

CLUSTER: Final = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET: Final = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
LISTENER: Final = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
ROUTES: Final = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"
