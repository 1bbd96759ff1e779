"""CDS and EDS: where calls can go, and which processes are there.

A service has two clusters, `<service>` and `<service>-canary`; both prove the same SPIFFE id. The
endpoints come from the launcher or the orchestrator of containers; health is what the endpoints
themselves say (gRPC health), and outlier detection sees first what health checks see late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.envoy.secrets import IDENTITY, ROOT, secret_reference
from mesh.envoy.snapshot import CANARY, STABLE, Address, Endpoint, Snapshot
from mesh.envoy.typed import ADS, Resource, extension, socket, typed
from mesh.pki.workloads import workload

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "edge-loopback"
COLLECTOR = "collector"
RATE_LIMITER = "gateway"
REFLECTION = "gateway"

_PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# Streams of a whole day's work may be open at once: the default of 1,024 refuses the 1,025th.
_UNBOUNDED = 1_000_000


def cluster_name(service: str, version: str) -> str:
    """Name the cluster of one version of a service."""
    return service if version == STABLE else f"{service}-{version}"


def clusters(snapshot: Snapshot) -> list[Resource]:
    """Give the clusters: every service in both versions, the edge itself, the trace collector."""
    services = dict.fromkeys((*snapshot.contract.owners, RATE_LIMITER, REFLECTION))
    found = [_service_cluster(service, version) for service in services for version in (STABLE, CANARY)]
    return [*found, _loopback_cluster(snapshot), _collector_cluster(snapshot.edge.collector)]


def load_assignments(snapshot: Snapshot) -> list[Resource]:
    """Give the endpoints of each service cluster; an empty one is an answer, too."""
    services = dict.fromkeys((*snapshot.contract.owners, RATE_LIMITER, REFLECTION))
    return [
        {
            "cluster_name": cluster_name(service, version),
            "endpoints": list(_localities(snapshot, service, version)),
        }
        for service in services
        for version in (STABLE, CANARY)
    ]


def _localities(snapshot: Snapshot, service: str, version: str) -> Iterator[Resource]:
    members = sorted(e for e in snapshot.endpoints if e.service == service and e.version == version)
    if members:
        yield {"lb_endpoints": [_endpoint(member) for member in members]}


def _endpoint(endpoint: Endpoint) -> Resource:
    return {
        "endpoint": {"address": socket(endpoint.address)},
        "health_status": "DRAINING" if endpoint.draining else "UNKNOWN",
    }


def _service_cluster(service: str, version: str) -> Resource:
    identity = workload(service)
    return {
        "name": cluster_name(service, version),
        "type": "EDS",
        "eds_cluster_config": {"eds_config": ADS},
        "connect_timeout": "1s",
        # Who is not listed any more gets no new call, however healthy: a successor has its place.
        "ignore_health_on_host_removal": True,
        # Not the least loaded: a dead process has the fewest calls of all, and a retry finds it again.
        "lb_policy": "ROUND_ROBIN",
        "typed_extension_protocol_options": _http2(),
        "transport_socket": upstream_tls(identity.server_name, identity.spiffe_id),
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "5s",
                "no_traffic_interval": "5s",
                "unhealthy_interval": "1s",
                "no_traffic_healthy_interval": "5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {"authority": identity.server_name},
            }
        ],
        "outlier_detection": {
            "consecutive_gateway_failure": 3,
            "enforcing_consecutive_gateway_failure": 100,
            "interval": "1s",
            "base_ejection_time": "3s",
            "max_ejection_percent": 50,
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _UNBOUNDED,
                    "max_pending_requests": _UNBOUNDED,
                    "max_requests": _UNBOUNDED,
                    "max_retries": 100,
                }
            ]
        },
    }


def upstream_tls(server_name: str, spiffe_id: str) -> Resource:
    """Show the edge's certificate, and take none but this identity's."""
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=server_name,
        common_tls_context={
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [secret_reference(IDENTITY)],
            "combined_validation_context": {
                "default_validation_context": {
                    "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": spiffe_id}}]
                },
                "validation_context_sds_secret_config": secret_reference(ROOT),
            },
        },
    )


def _http2() -> Resource:
    return {
        _PROTOCOL: typed(
            _PROTOCOL,
            explicit_http_config={
                "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
            },
        )
    }


def _loopback_cluster(snapshot: Snapshot) -> Resource:
    """The edge's own plain listener: how the JWT filter fetches the keys that identity serves."""
    return {
        "name": LOOPBACK,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _static(LOOPBACK, snapshot.edge.http),
    }


def _collector_cluster(address: Address | None) -> Resource:
    """Where spans go; without a collector nowhere, which the tracer takes only as an empty cluster."""
    return {
        "name": COLLECTOR,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": _http2(),
        "load_assignment": {"cluster_name": COLLECTOR} if address is None else _static(COLLECTOR, address),
    }


def _static(name: str, address: Address) -> Resource:
    members = [{"endpoint": {"address": socket(address)}}]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": members}]}
