"""The HTTP filters of the edge, in the one order in which they run."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from mesh.envoy.access import (
    CLAIMS,
    JWT_FILTER,
    TOKEN_ID_HEADER,
    revocations_filter,
    scopes_filter,
)
from mesh.envoy.clusters import LOOPBACK, RATE_LIMITER
from mesh.envoy.scripts import scripts_filter
from mesh.envoy.typed import HTTP_FILTERS, Resource, extension, typed

if TYPE_CHECKING:
    from mesh.envoy.contract import Contract
    from mesh.envoy.snapshot import Snapshot

ISSUER = AUDIENCE = "soma"
RATE_LIMIT_DOMAIN = "edge"
BODY_FILTER = "envoy.filters.http.buffer"
MAX_BODY_BYTES = 24 * 1024 * 1024
_JWKS_PATH = "/.well-known/jwks.json"


def http_filters(snapshot: Snapshot) -> list[Resource]:
    """Give the filter chain.

    Who calls is settled first (jwt, revocations, scopes), then how much (buffer), how often
    (ratelimit), and in what shape (scripts, transcoder). The buffer stands before the first filter
    that waits for somebody: a body that outgrows the stream's buffer meanwhile would be read no
    further, and never be refused either. All of them look at the route of the path that the client
    sent; the transcoder, which changes it, is last.
    """
    return [
        extension("envoy.filters.http.cors", f"{HTTP_FILTERS}.cors.v3.Cors"),
        extension("envoy.filters.http.grpc_web", f"{HTTP_FILTERS}.grpc_web.v3.GrpcWeb"),
        _jwt_filter(snapshot),
        revocations_filter(),
        scopes_filter(),
        _body_filter(),
        _rate_limit_filter(),
        scripts_filter(snapshot.contract),
        _transcoder(snapshot.contract),
        extension("envoy.filters.http.router", f"{HTTP_FILTERS}.router.v3.Router"),
    ]


def _jwt_filter(snapshot: Snapshot) -> Resource:
    """Verify tokens with the keys that identity serves through the edge itself.

    Every path needs a token unless its route says otherwise. The keys are fetched in the background
    and again every ten seconds; the listener does not wait for them.
    """
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "require_expiration": True,
        "forward": True,
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "payload_in_metadata": CLAIMS,
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
        "claim_to_headers": [{"header_name": TOKEN_ID_HEADER, "claim_name": "jti"}],
        "jwt_cache_config": {"jwt_cache_size": 1000},
        "remote_jwks": {
            "http_uri": {
                "uri": f"http://{snapshot.edge.http}{_JWKS_PATH}",
                "cluster": LOOPBACK,
                "timeout": "2s",
            },
            "cache_duration": "10s",
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": "1s"},
        },
    }
    return extension(
        JWT_FILTER,
        f"{HTTP_FILTERS}.jwt_authn.v3.JwtAuthentication",
        providers={"soma": provider},
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "soma"}}],
    )


def _rate_limit_filter() -> Resource:
    """Ask the gateway whether the tenant may call now; no answer is a no."""
    return extension(
        "envoy.filters.http.ratelimit",
        f"{HTTP_FILTERS}.ratelimit.v3.RateLimit",
        domain=RATE_LIMIT_DOMAIN,
        failure_mode_deny=True,
        status_on_error={"code": "ServiceUnavailable"},
        timeout="2s",
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
        rate_limited_as_resource_exhausted=True,
        rate_limit_service={
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": RATE_LIMITER}},
        },
    )


def _body_filter() -> Resource:
    """Gather whole bodies, up to the limit of the route.

    Off where the route has no limit (gRPC, whose streams it would stop). The scripts rely on it: on
    their own they wait for ever for the end of a body that is larger than Envoy's buffer.
    """
    gather = extension(BODY_FILTER, f"{HTTP_FILTERS}.buffer.v3.Buffer", max_request_bytes=MAX_BODY_BYTES)
    return {**gather, "disabled": True}


def body_limit(limit: int) -> Resource:
    """Refuse larger bodies on this route with 413."""
    per_route = typed(f"{HTTP_FILTERS}.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": limit})
    return {BODY_FILTER: per_route}


def _transcoder(contract: Contract) -> Resource:
    """JSON to gRPC and back; the route of the JSON path stays, with its scripts, to the end."""
    return extension(
        "envoy.filters.http.grpc_json_transcoder",
        f"{HTTP_FILTERS}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor_bin=b64encode(contract.descriptors).decode(),
        services=list(contract.services),
        match_incoming_request_route=True,
        convert_grpc_status=True,
        print_options={
            "preserve_proto_field_names": True,
            "stream_sse_style_delimited": True,
        },
        request_validation_options={"reject_unknown_query_parameters": True},
        max_request_body_size=MAX_BODY_BYTES,
        max_response_body_size=MAX_BODY_BYTES,
    )
