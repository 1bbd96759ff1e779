"""Builds the gateway: its verifier, its channels, its counters and its handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from soma.gateway.v1 import service_pb2_grpc

from mesh.policy.wiring import join_policy
from mesh.runtime.errors import Unavailable
from mesh.runtime.process import Process
from mesh.runtime.server import Served
from mesh.trust.wiring import join_trust
from services.gateway.config import Settings
from services.gateway.handlers import ratelimits, reflection
from services.gateway.handlers.openai import OpenAIHandlers
from services.gateway.handlers.pages import PagesHandlers

OPENAPI = Path(__file__).resolve().parents[2] / "gen" / "openapi" / "openapi.json"
REDIS_SECONDS = 0.5
STALE_CONNECTIONS = 1


async def build(process: Process) -> None:
    """Wire the process."""
    settings = Settings()  # type: ignore[call-arg]  # pydantic reads the environment
    join_trust(process)
    join_policy(process)
    storage = await process.enter(counters(settings.redis_url))

    async def redis_answers() -> None:
        async with asyncio.timeout(REDIS_SECONDS):
            if not await storage.check():
                raise Unavailable("DEPENDENCY_UNAVAILABLE", "the counters of the rate limits do not answer")

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
        limiter=SlidingWindowCounterRateLimiter(storage),
        per_second=settings.rate_limit_per_second,
        public_per_second=settings.public_rate_limit_per_second,
    )
    # Envoy's own service: our contracts know nothing of it, the mesh policy does.
    process.served.append(Served(ratelimits.register, limits, ratelimits.SERVICE, own_contract=False))
    process.reflect(*reflection.services_of_the_edge())


@asynccontextmanager
async def counters(redis_url: str) -> AsyncIterator[RedisStorage]:
    """The store of the counters; connections are made at the first use and closed at the end."""
    # Each pooled connection finds out by itself that Redis was restarted: one more try on a new one.
    # (limits hands further options to redis-py as they are; its types know plain values only.)
    patience: dict[str, Any] = {
        "retry": Retry(NoBackoff(), STALE_CONNECTIONS),
        "retry_on_error": [RedisConnectionError],
    }
    storage = RedisStorage(
        f"async+{redis_url}",
        implementation="redispy",
        key_prefix="gateway:limits",
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        **patience,
    )
    try:
        yield storage
    finally:
        await storage.bridge.storage.aclose()  # type: ignore[attr-defined]  # the redis-py bridge's client
