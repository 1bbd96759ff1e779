"""Servers that end at the worst moment: in mid-transaction, in mid-decode, right after they acknowledged."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import signal
from collections.abc import Awaitable, Callable

import aiohttp
import asyncpg
import redis.asyncio as redis

from mesh.stack.environment import Environment
from mesh.stack.secret_files import secret
from mesh.turnlog.keys import LEASES
from tests.chaos.fault import Fault
from tests.support.stack import Stack, soma

MOMENT_SECONDS = 5.0
LOOK_EVERY = 0.002
AWAY_SECONDS, LONG_AWAY_SECONDS = 10.0, 60.0
DRAIN_SECONDS = 2.0
BUSY = """
    select true from pg_stat_activity
    where datname = 'soma' and pid <> pg_backend_pid() and xact_start is not null and usename <> 'postgres'
"""
Moment = Callable[[Stack], Awaitable[bool]]


async def in_mid_transaction(stack: Stack) -> bool:
    """Wait for a transaction of a service; False where none came in time."""
    connection = await asyncpg.connect(Environment(stack.settings).postgres_url("postgres"))
    try:
        return await _moment(lambda: connection.fetchval(BUSY))
    finally:
        await connection.close()


async def in_mid_decode(stack: Stack) -> bool:
    """Wait for a turn that a worker holds; False where none came in time."""
    async with _redis(stack) as client:
        return await _moment(lambda: client.zcard(LEASES))


async def right_after_a_write(stack: Stack) -> bool:
    """Wait for the next write that Redis acknowledges; False where none came in time."""
    async with _redis(stack) as client:
        before = await _written(client)

        async def more() -> bool:
            return await _written(client) > before

        return await _moment(more)


async def end(stack: Stack, _choice: random.Random, *, server: str, number: int, at: Moment | None) -> None:
    """Send a signal to a server at a moment, and wait until the supervisor has seen it die."""
    row = await stack.process(server)
    if row.pid is None:
        return
    if at is not None:
        await at(stack)
    os.kill(row.pid, number)
    while (await stack.process(server)).pid == row.pid:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.05)


async def restart_postgres(stack: Stack, _choice: random.Random) -> None:
    """Restart Postgres in order: open transactions are rolled back, connections closed."""
    await in_mid_transaction(stack)
    await stack.restart("postgres")


async def control_plane_away(stack: Stack, _choice: random.Random, *, seconds: float) -> None:
    """Take the control plane away for a time."""
    await soma(stack.settings, "down", "xds")
    try:
        await asyncio.sleep(seconds)
    finally:
        await soma(stack.settings, "up", "--only", "xds")


async def replace_envoy(stack: Stack, _choice: random.Random) -> None:
    """Tell Envoy to drain, then put a new one in its place."""
    admin = f"http://{stack.settings.ports.address('envoy-admin')}"
    async with aiohttp.ClientSession(base_url=admin) as http:
        for path in ("/healthcheck/fail", "/drain_listeners?graceful&skip_exit"):
            async with http.post(path) as answer:
                assert answer.status == 200, await answer.text()
    await asyncio.sleep(DRAIN_SECONDS)
    await stack.restart("envoy")


def _redis(stack: Stack) -> redis.Redis:
    password = secret(stack.settings.home.secrets, "redis-supervisor")
    port = stack.settings.ports.of("redis")
    return redis.Redis(host="127.0.0.1", port=port, username="supervisor", password=password)


async def _written(client: redis.Redis) -> int:
    statistics = await client.info("commandstats")
    writes = ("cmdstat_xadd", "cmdstat_evalsha", "cmdstat_fcall", "cmdstat_set", "cmdstat_hset")
    return sum(int(statistics[one]["calls"]) for one in writes if one in statistics)


async def _moment(come: Callable[[], Awaitable[object]]) -> bool:
    until = asyncio.get_running_loop().time() + MOMENT_SECONDS
    while asyncio.get_running_loop().time() < until:
        if await come():
            return True
        await asyncio.sleep(LOOK_EVERY)
    return False


def _ending(name: str, server: str, number: int, at: Moment | None = None) -> Fault:
    return Fault(name=name, inject=functools.partial(end, server=server, number=number, at=at))


FAULTS: tuple[Fault, ...] = (
    Fault(name="restart postgres in mid-transaction", inject=restart_postgres),
    _ending("postgres ends at once in mid-transaction", "postgres", signal.SIGQUIT, in_mid_transaction),
    _ending("kill triton in mid-decode", "triton", signal.SIGKILL, in_mid_decode),
    _ending("kill redis right after a write", "redis", signal.SIGKILL, right_after_a_write),
    _ending("kill kafka uncleanly", "kafka", signal.SIGKILL),
    Fault(name="control plane away", inject=functools.partial(control_plane_away, seconds=AWAY_SECONDS)),
    Fault(
        name="control plane away for a minute",
        inject=functools.partial(control_plane_away, seconds=LONG_AWAY_SECONDS),
        long_only=True,
    ),
    Fault(name="drain and replace envoy", inject=replace_envoy),
)
