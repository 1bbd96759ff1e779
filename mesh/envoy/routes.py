"""RDS: one real route for each gRPC path and each JSON binding of an exposed method.

Filters before the transcoder look at the route of the original path; a JSON path without a route of
its own would skip them. So nothing but "not found" is answered by a catch-all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.envoy.access import (
    CLAIMS,
    JWT_FILTER,
    TOKEN_ID_HEADER,
    no_scope,
    no_token,
    revocations,
    scope_policy,
)
from mesh.envoy.clusters import REFLECTION, cluster_name
from mesh.envoy.filters import MAX_BODY_BYTES, body_limit
from mesh.envoy.scripts import check_body, shape_errors
from mesh.envoy.snapshot import CANARY, STABLE, Snapshot
from mesh.envoy.typed import HTTP_FILTERS, Resource, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mesh.envoy.contract import Binding, Method

ROUTES = "edge"
REFLECTION_SERVICES = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
UNARY_TIMEOUT = "300s"
STREAM_IDLE_TIMEOUT = "90s"
CORS_FILTER = "envoy.filters.http.cors"

_IS_GRPC: Resource = {
    "name": "content-type",
    "string_match": {"prefix": "application/grpc"},
}
_BODY_BYTES = 1024 * 1024
_CHAT_BYTES = 4 * 1024 * 1024
# What the API promises to answer with 201; everything else is 200.
_CREATING_PATHS = ("/v1/sessions",)
_LARGE_REQUESTS = {"soma.memory.v1.IngestDocumentRequest": MAX_BODY_BYTES}


def route_configurations(snapshot: Snapshot) -> list[Resource]:
    """Give the one route configuration that both listeners use."""
    host = {
        "name": "soma",
        "domains": ["*"],
        "typed_per_filter_config": {**_cors(snapshot), **revocations(snapshot)},
        "request_headers_to_remove": [TOKEN_ID_HEADER],
        "routes": list(_routes(snapshot)),
    }
    return [{"name": ROUTES, "virtual_hosts": [host]}]


def _routes(snapshot: Snapshot) -> Iterator[Resource]:
    """Exact paths first: they are found fastest, and `:verb` paths never hide behind a variable."""
    methods = snapshot.contract.methods
    for method in methods:
        yield _grpc_route(snapshot, method)
    json = [(method, binding) for method in methods for binding in method.bindings]
    for method, binding in json:
        if binding.exact:
            yield _json_route(snapshot, method, binding)
    for method in methods:
        yield _mapped_route(snapshot, method)
    for method, binding in json:
        if not binding.exact:
            yield _json_route(snapshot, method, binding)
    yield from (_reflection_route(service) for service in REFLECTION_SERVICES)
    yield _preflight_route(snapshot)
    yield _nothing_route()


def _grpc_route(snapshot: Snapshot, method: Method) -> Resource:
    """Native gRPC and gRPC-Web."""
    return {
        "name": method.path,
        "match": {"path": method.path, "headers": [_IS_GRPC]},
        "route": {**_target(snapshot, method), "rate_limits": _rate_limits(method)},
        "typed_per_filter_config": _access(method),
    }


def _mapped_route(snapshot: Snapshot, method: Method) -> Resource:
    """`POST /package.Service/Method` with a JSON body."""
    return _with_json(snapshot, method, {"path": method.path, "headers": [_verb("POST")]})


def _json_route(snapshot: Snapshot, method: Method, binding: Binding) -> Resource:
    match: Resource = {"headers": [_verb(binding.verb)]}
    if binding.exact:
        match["path"] = binding.template
    else:
        match["safe_regex"] = {"regex": binding.pattern}
    return _with_json(snapshot, method, match)


def _with_json(snapshot: Snapshot, method: Method, match: Resource) -> Resource:
    has_body = match["headers"][0]["string_match"]["exact"] in ("POST", "PUT", "PATCH")
    scripts: Resource = {}
    if method.takes_raw_body or method.service == "soma.gateway.v1.OpenAI":
        scripts = shape_errors()
    elif has_body:
        scripts = check_body(method.request, creates=match.get("path") in _CREATING_PATHS)
    limit = _CHAT_BYTES if method.takes_raw_body else _LARGE_REQUESTS.get(method.request, _BODY_BYTES)
    return {
        "name": method.path,
        "match": match,
        "route": {**_target(snapshot, method), "rate_limits": _rate_limits(method)},
        "typed_per_filter_config": {**_access(method), **body_limit(limit), **scripts},
    }


def _reflection_route(service: str) -> Resource:
    """The gateway's reflection lists the services of all; like the API pages it is for everybody."""
    path = f"/{service}/ServerReflectionInfo"
    return {
        "name": path,
        "match": {"path": path, "headers": [_IS_GRPC]},
        "route": {"cluster": REFLECTION, **_stream_timeouts()},
        "typed_per_filter_config": {**no_token(), **no_scope()},
    }


def _preflight_route(snapshot: Snapshot) -> Resource:
    """Answer a browser's question before a call.

    The CORS filter answers it for an allowed origin; for any other it goes on to the JWT filter,
    which refuses.
    """
    return {
        "name": "preflight",
        "match": {
            "prefix": "/",
            "headers": [
                _verb("OPTIONS"),
                {"name": "access-control-request-method", "present_match": True},
            ],
        },
        "route": {"cluster": cluster_name(snapshot.contract.owners[0], STABLE)},
    }


def _nothing_route() -> Resource:
    """Tell whoever has a token that nothing is there; without this the scope filter says "denied"."""
    return {
        "name": "nothing",
        "match": {"prefix": "/"},
        "direct_response": {"status": 404},
        "typed_per_filter_config": no_scope(),
    }


def _target(snapshot: Snapshot, method: Method) -> Resource:
    return {
        **_clusters(snapshot, method.owner),
        **(_stream_timeouts() if method.streams else _unary_timeouts()),
        "retry_policy": _retries(method),
    }


def _clusters(snapshot: Snapshot, service: str) -> Resource:
    share = snapshot.canary_share(service)
    if not share:
        return {"cluster": cluster_name(service, STABLE)}
    weights = ((STABLE, 100 - share), (CANARY, share))
    return {
        "weighted_clusters": {
            "clusters": [
                {"name": cluster_name(service, version), "weight": weight}
                for version, weight in weights
                if weight
            ]
        }
    }


def _unary_timeouts() -> Resource:
    """A caller's own deadline counts; the edge only ends what everybody has forgotten."""
    return {
        "timeout": UNARY_TIMEOUT,
        "max_stream_duration": {
            "max_stream_duration": UNARY_TIMEOUT,
            "grpc_timeout_header_max": UNARY_TIMEOUT,
        },
    }


def _stream_timeouts() -> Resource:
    """A stream may last for ever while something moves: services ping every 15 s."""
    return {
        "timeout": "0s",
        "idle_timeout": STREAM_IDLE_TIMEOUT,
        "max_stream_duration": {"grpc_timeout_header_max": "0s"},
    }


def _retries(method: Method) -> Resource:
    """Try another process where the call cannot have begun; where it may, only if it can repeat.

    CANCELLED before any data is what gRPC's core says to calls that come in the moment in which a server
    shuts down; no handler saw them, and no handler of ours says so to a caller who still waits.
    """
    reasons = ["connect-failure", "refused-stream", "cancelled"]
    if method.repeatable and not method.streams:
        reasons += ["unavailable", "reset"]
    return {
        "retry_on": ",".join(reasons),
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }


def _rate_limits(method: Method) -> list[Resource]:
    """Count a call on its tenant; where nobody is known yet, on the client's address.

    Public reads (health, keys, pages) are not counted: the edge itself fetches keys before there is
    a gateway to ask.
    """
    if method.public and not any(binding.verb == "POST" for binding in method.bindings):
        return []
    if method.public:
        return [{"actions": [{"remote_address": {}}]}]
    tenant = {
        "metadata": {
            "descriptor_key": "tenant",
            "source": "DYNAMIC",
            "metadata_key": {"key": JWT_FILTER, "path": [{"key": CLAIMS}, {"key": "tenant"}]},
        }
    }
    return [{"actions": [tenant]}]


def _access(method: Method) -> Resource:
    return {**scope_policy(method), **(no_token() if method.public else {})}


def _cors(snapshot: Snapshot) -> Resource:
    policy = typed(
        f"{HTTP_FILTERS}.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"safe_regex": {"regex": origin}} for origin in snapshot.edge.origins],
        allow_methods="GET, POST, PUT, PATCH, DELETE, OPTIONS",
        allow_headers=(
            "authorization, content-type, grpc-timeout, traceparent, x-grpc-web, x-request-id, x-user-agent"
        ),
        expose_headers=(
            "grpc-message, grpc-status, grpc-status-details-bin, x-ratelimit-limit,"
            " x-ratelimit-remaining, x-ratelimit-reset, x-request-id"
        ),
        max_age="600",
    )
    return {CORS_FILTER: policy}


def _verb(verb: str) -> Resource:
    return {"name": ":method", "string_match": {"exact": verb}}
