"""What the edge itself answers when it refuses: `google.rpc.Status`, as JSON or in gRPC's trailers.

Each refusal has a reason of `soma.errors.v1.ErrorReason`. gRPC callers get the same `ErrorInfo` in
`grpc-status-details-bin`; on OpenAI's paths a script reshapes the JSON (see `scripts.py`).
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from mesh.envoy.access import REVOKED_POLICY
from mesh.envoy.typed import Resource, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

DOMAIN = "soma"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One way in which the edge refuses.

    Attributes:
        when: CEL condition on the response.
        reason: name in ErrorReason, without its prefix.
        code: gRPC status code.
        status: HTTP status to answer with, where it differs from what the filter chose.
        words: what people read.
        keep_words: whether JSON callers get the filter's own words instead, because they say more.
    """

    when: str
    reason: str
    code: int
    words: str
    status: int | None = None
    keep_words: bool = False


def _details(text: str) -> str:
    return f"response.code_details.contains('{text}')"


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        when=_details("Jwt_is_missing"),
        reason="TOKEN_MISSING",
        code=code_pb2.UNAUTHENTICATED,
        words="no bearer token",
    ),
    Refusal(
        when=_details("Jwt_is_expired"),
        reason="TOKEN_EXPIRED",
        code=code_pb2.UNAUTHENTICATED,
        words="the token expired",
    ),
    Refusal(
        when=_details("Jwks_remote_fetch"),
        reason="DEPENDENCY_UNAVAILABLE",
        code=code_pb2.UNAVAILABLE,
        status=503,
        words="the keys that verify tokens are not here yet; try again",
    ),
    Refusal(
        when=_details("jwt_authn_access_denied"),
        reason="TOKEN_INVALID",
        code=code_pb2.UNAUTHENTICATED,
        status=401,
        words="the token's signature, algorithm, audience or form is not valid",
    ),
    Refusal(
        when=f"{_details('rbac_access_denied')} && {_details(f'[{REVOKED_POLICY}]')}",
        reason="TOKEN_REVOKED",
        code=code_pb2.UNAUTHENTICATED,
        status=401,
        words="the token was revoked",
    ),
    Refusal(
        when=_details("rbac_access_denied"),
        reason="SCOPE_MISSING",
        code=code_pb2.PERMISSION_DENIED,
        words="the token lacks the scope of this method",
    ),
    Refusal(
        when="response.code == 404",
        reason="ROUTE_NOT_FOUND",
        code=code_pb2.UNIMPLEMENTED,
        words="no route serves this path and verb",
    ),
    Refusal(
        when="response.code == 413",
        reason="TOO_LARGE",
        code=code_pb2.INVALID_ARGUMENT,
        words="the request body is larger than this method takes",
    ),
    Refusal(
        when="response.code == 429",
        reason="RATE_LIMITED",
        code=code_pb2.RESOURCE_EXHAUSTED,
        words="rate limit of tenant reached",
    ),
    Refusal(
        when="response.code == 504 || response.code == 408",
        reason="DEADLINE_EXCEEDED",
        code=code_pb2.DEADLINE_EXCEEDED,
        words="the deadline passed before the answer was there",
    ),
    Refusal(
        when="response.code == 503",
        reason="DEPENDENCY_UNAVAILABLE",
        code=code_pb2.UNAVAILABLE,
        words="the service does not answer; try again",
    ),
    Refusal(
        when="response.code >= 500",
        reason="INTERNAL",
        code=code_pb2.INTERNAL,
        words="internal error at the edge",
    ),
    Refusal(
        when="response.code >= 400",
        reason="INVALID_ARGUMENT",
        code=code_pb2.INVALID_ARGUMENT,
        words="the request is not valid",
        keep_words=True,
    ),
)

# Behind the transcoder every request is gRPC; what the client sent is told by this header.
_NOT_TRANSCODED: Resource = {
    "header_filter": {
        "header": {"name": "x-envoy-original-method", "present_match": True, "invert_match": True}
    }
}


def local_replies() -> Resource:
    """Give the mapping of the edge's own refusals to bodies; the first that fits is taken."""
    return {"mappers": [mapper for refusal in REFUSALS for mapper in _mappers(refusal)]}


def _mappers(refusal: Refusal) -> Iterator[Resource]:
    change: Resource = {} if refusal.status is None else {"status_code": refusal.status}
    yield {
        "filter": _all(_when(refusal.when), _header("content-type", "application/grpc"), _NOT_TRANSCODED),
        **change,
        "body": {"inline_string": refusal.words},
        "headers_to_add": [
            {
                "header": {"key": "grpc-status-details-bin", "value": _details_header(refusal)},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }
    yield {
        # The scripts answer with whole bodies of their own.
        "filter": _all(_when(refusal.when), _not_from_script()),
        **change,
        "body_format_override": _json(
            {
                "code": refusal.code,
                "message": _message(refusal),
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": refusal.reason,
                        "domain": DOMAIN,
                    }
                ],
            }
        ),
    }


def _message(refusal: Refusal) -> str:
    return "%LOCAL_REPLY_BODY%" if refusal.keep_words else refusal.words


def _details_header(refusal: Refusal) -> str:
    info = error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN)
    packed = any_pb2.Any()
    packed.Pack(info)
    status = status_pb2.Status(code=refusal.code, message=refusal.words, details=[packed])
    return b64encode(status.SerializeToString()).decode().rstrip("=")


def _json(body: Resource) -> Resource:
    return {"json_format": body, "content_type": "application/json"}


def _when(expression: str) -> Resource:
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": typed(
                "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                expression=expression,
            ),
        }
    }


def _header(name: str, prefix: str) -> Resource:
    return {"header_filter": {"header": {"name": name, "string_match": {"prefix": prefix}}}}


def _not_from_script() -> Resource:
    return _when("!response.code_details.contains('lua_response')")


def _all(*filters: Resource) -> Resource:
    return {"and_filter": {"filters": list(filters)}}
