"""LDS: the plain listener on loopback and the TLS listener, with the same filters and routes.

A changed listener cuts its streams after the drain time. So what changes often (routes, revocations,
endpoints, certificates) is none of it; the contracts and the installation's settings are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesh.envoy.clusters import COLLECTOR
from mesh.envoy.filters import http_filters
from mesh.envoy.replies import local_replies
from mesh.envoy.routes import ROUTES
from mesh.envoy.secrets import IDENTITY, secret_reference
from mesh.envoy.typed import ADS, Resource, extension, socket, typed

if TYPE_CHECKING:
    from mesh.envoy.snapshot import Snapshot

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_BUFFER_BYTES = 1024 * 1024
# Headers by which parts of the mesh trust each other: never a client's to set.
_INTERNAL_PREFIXES = ("x-soma-", "x-envoy-", "x-b3-")
_INTERNAL_HEADERS = ("x-forwarded-client-cert", "grpc-status-details-bin", "x-ot-span-context")


def listeners(snapshot: Snapshot) -> list[Resource]:
    """Give both listeners."""
    edge = snapshot.edge
    return [
        {
            "name": "edge-http",
            "address": socket(edge.http),
            "filter_chains": [{"filters": [_http_manager(snapshot, "http")]}],
            "per_connection_buffer_limit_bytes": _BUFFER_BYTES,
        },
        {
            "name": "edge-tls",
            "address": socket(edge.tls),
            "filter_chains": [
                {
                    "filters": [_http_manager(snapshot, "tls")],
                    "transport_socket": _downstream_tls(),
                    "transport_socket_connect_timeout": "10s",
                }
            ],
            "per_connection_buffer_limit_bytes": _BUFFER_BYTES,
        },
    ]


def _http_manager(snapshot: Snapshot, name: str) -> Resource:
    config: dict[str, Any] = {
        "stat_prefix": f"edge_{name}",
        "rds": {"config_source": ADS, "route_config_name": ROUTES},
        "http_filters": http_filters(snapshot),
        "local_reply_config": local_replies(),
        "early_header_mutation_extensions": [_strip_internal_headers()],
        "access_log": [_access_log(snapshot)],
        "tracing": _tracing(snapshot),
        **_connection_rules(snapshot.edge.request_seconds),
        **_identity_rules(),
    }
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": typed(_HCM, **config),
    }


def _connection_rules(request_seconds: float) -> dict[str, Any]:
    """Bound what a client may take its time with; an answer may take as long as its route says.

    A stream that has no request left to send is not counted, so a turn may last for ever.
    """
    return {
        "codec_type": "AUTO",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "stream_idle_timeout": "300s",
        "request_headers_timeout": "10s",
        "request_timeout": f"{request_seconds:g}s",
        "delayed_close_timeout": "1s",
        "drain_timeout": "5s",
        "http2_protocol_options": {
            "max_concurrent_streams": 4096,
            "initial_stream_window_size": 1024 * 1024,
            "initial_connection_window_size": 8 * 1024 * 1024,
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
        "common_http_protocol_options": {"max_headers_count": 100, "idle_timeout": "600s"},
    }


def _identity_rules() -> dict[str, Any]:
    """Trust nobody outside to say who they are or where they come from.

    A client may choose its request id, which comes back to it.
    """
    return {
        "use_remote_address": True,
        "xff_num_trusted_hops": 0,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "forward_client_cert_details": "SANITIZE",
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": typed(
                "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                pack_trace_reason=False,
                use_request_id_for_trace_sampling=False,
            )
        },
    }


def _strip_internal_headers() -> Resource:
    mutations: list[Resource] = [
        {"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in _INTERNAL_PREFIXES
    ]
    mutations += [{"remove": header} for header in _INTERNAL_HEADERS]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=mutations,
    )


def _tracing(snapshot: Snapshot) -> Resource:
    """Give every call a `traceparent`, made here or taken from the client.

    Spans leave only where there is a collector. What is sampled is decided here, whatever a client
    asks for.
    """
    edge = snapshot.edge
    exporter = {"envoy_grpc": {"cluster_name": COLLECTOR}, "timeout": "0.25s"}
    sampled = edge.trace_percent if edge.collector is not None else 0.0
    sampler = extension(
        "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        "envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig",
        sampling_percentage={"numerator": round(sampled * 10_000), "denominator": "MILLION"},
    )
    return {
        "random_sampling": {"value": 100.0},
        "provider": extension(
            "envoy.tracers.opentelemetry",
            "envoy.config.trace.v3.OpenTelemetryConfig",
            service_name="edge",
            grpc_service=exporter,
            sampler=sampler,
        ),
    }


def _access_log(snapshot: Snapshot) -> Resource:
    """One JSON object a call; no query, no header that can hold a secret."""
    claims = "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:claims:{}):128%"
    fields = {
        "time": "%START_TIME%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "trace_id": "%TRACE_ID%",
        "verb": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH):256%",
        "method": "%ROUTE_NAME%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
        "flags": "%RESPONSE_FLAGS%",
        "detail": "%RESPONSE_CODE_DETAILS%",
        "tenant": claims.format("tenant"),
        "subject": claims.format("sub"),
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "ms": "%DURATION%",
        "upstream": "%UPSTREAM_CLUSTER%",
        "upstream_host": "%UPSTREAM_HOST%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }
    return extension(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path=snapshot.edge.access_log,
        log_format={"json_format": fields},
    )


def _downstream_tls() -> Resource:
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [secret_reference(IDENTITY)],
        },
    )
