"""Builds the gateway: its verifier, its channels, its counters and its handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from soma.gateway.v1 import service_pb2_grpc

from mesh.policy.wiring import join_policy
from mesh.runtime.errors import Unavailable
from mesh.runtime.process import Process
from mesh.runtime.server import Served
from mesh.trust.wiring import join_trust
from services.gateway.config import Settings
from services.gateway.counters import Counters
from services.gateway.handlers import ratelimits, reflection
from services.gateway.handlers.openai import OpenAIHandlers
from services.gateway.handlers.pages import PagesHandlers

OPENAPI = Path(__file__).resolve().parents[2] / "gen" / "openapi" / "openapi.json"
REDIS_SECONDS = 0.5
STALE_CONNECTIONS = 1


async def build(process: Process, settings: Settings) -> None:
    """Wire the process."""
    join_trust(process)
    join_policy(process)
    redis = await process.enter(connected(settings.redis_url))

    async def redis_answers() -> None:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await redis.ping()
        except RedisError as error:
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE", "the counters of the rate limits do not answer"
            ) from error

    process.ready_when("redis", redis_answers)
    process.serve(
        service_pb2_grpc.add_OpenAIServicer_to_server,
        OpenAIHandlers(orchestrator=process.channel("orchestrator"), slm=process.channel("slm")),
        service="soma.gateway.v1.OpenAI",
        # The orchestrator decides the turn, with its persona, and records what it refuses.
        decides_itself=("CreateChatCompletion",),
    )
    process.serve(
        service_pb2_grpc.add_PagesServicer_to_server,
        PagesHandlers(openapi=OPENAPI),
        service="soma.gateway.v1.Pages",
    )
    limits = ratelimits.RateLimits(
        counters=Counters(redis),
        per_second=settings.rate_limit_per_second,
        public_per_second=settings.public_rate_limit_per_second,
    )
    # Envoy's own service: our contracts know nothing of it, the mesh policy does.
    process.served.append(Served(ratelimits.register, limits, ratelimits.SERVICE, own_contract=False))
    process.reflect(*reflection.services_of_the_edge())


@asynccontextmanager
async def connected(redis_url: str) -> AsyncIterator[Redis]:
    """The server of the counters; connections are made at the first use and closed at the end."""
    # Each pooled connection finds out by itself that Redis was restarted: one more try on a new one.
    redis = Redis.from_url(
        redis_url,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), STALE_CONNECTIONS),
        retry_on_error=[RedisConnectionError],
    )
    try:
        yield redis
    finally:
        await redis.aclose()
