"""Envoy's rate limit service, v3, which says whether a tenant is within its limit.

Counts in Redis, shared by all replicas, in lots (`services.gateway.allowances`).
When Redis does not answer, the call fails and Envoy refuses (`failure_mode_deny`):
a limit that cannot be checked is not a limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import grpc
from soma.gateway.v1 import ratelimit_pb2 as pb

from services.gateway.allowances import Allowances
from services.gateway.counters import Counters, Limit

RETRY_AFTER: Final = "retry-after"
SERVICE = "envoy.service.ratelimit.v3.RateLimitService"


class RateLimits:
    """Decides for each descriptor; the request is refused when any is beyond."""

    def __init__(self, *, counters: Counters, per_second: int, public_per_second: int) -> None:
        self._allowances = Allowances(counters)
        self._tenant = Limit(per_second)
        self._public = Limit(public_per_second)

    async def ShouldRateLimit(self, request: pb.RateLimitRequest, _context: Any) -> pb.RateLimitResponse:
        """Count one request against each of its descriptors."""
        return answer_of([await self._count(d, request.hits_addend or 1) for d in request.descriptors])

    async def _count(self, descriptor: pb.RateLimitDescriptor, hits: int) -> pb.RateLimitStatus:
        caller = "/".join(f"{entry.key}={entry.value}" for entry in descriptor.entries)
        known = any(entry.key == "tenant" and entry.value for entry in descriptor.entries)
        limit = self._tenant if known else self._public
        counted = await self._allowances.spend(limit, caller, hits)
        status = pb.RateLimitStatus(
            code=pb.RATE_LIMIT_CODE_OK if counted.within else pb.RATE_LIMIT_CODE_OVER_LIMIT,
            current_limit=pb.RateLimitQuota(requests_per_unit=limit.amount, unit=pb.RATE_LIMIT_UNIT_SECOND),
        )
        if not counted.within:
            status.limit_remaining = counted.left
            status.duration_until_reset.FromNanoseconds(int(counted.reset * 1e9))
        return status


def answer_of(statuses: Sequence[pb.RateLimitStatus]) -> pb.RateLimitResponse:
    """The answer to a request of which each descriptor stands so."""
    beyond = [one for one in statuses if one.code == pb.RATE_LIMIT_CODE_OVER_LIMIT]
    if not beyond:
        return pb.RateLimitResponse(overall_code=pb.RATE_LIMIT_CODE_OK, statuses=statuses)
    seconds = max(one.duration_until_reset.ToTimedelta().total_seconds() for one in beyond)
    come_back = pb.RateLimitHeader(key=RETRY_AFTER, value=str(max(1, math.ceil(seconds))))
    return pb.RateLimitResponse(
        overall_code=pb.RATE_LIMIT_CODE_OVER_LIMIT, statuses=statuses, response_headers_to_add=[come_back]
    )


def register(servicer: RateLimits, server: Any) -> None:
    """Register under Envoy's own method name."""
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.ShouldRateLimit,
        request_deserializer=pb.RateLimitRequest.FromString,
        response_serializer=pb.RateLimitResponse.SerializeToString,
    )
    server.add_registered_method_handlers(SERVICE, {"ShouldRateLimit": handler})
