"""A client that goes away while its turn is being written leaves nothing: no row, no place, no log."""

import asyncio
import uuid
from typing import Any

import asyncpg
from soma.orchestrator.v1 import service_pb2

from mesh.stack.environment import Environment
from mesh.turnlog import Link
from tests.chaos.scenarios.turnlogs import redis_url
from tests.support.stack import Stack
from tests.support.wires import GrpcClient

SECONDS = 30.0


async def keys_of(link: Link, tenant: str) -> set[bytes]:
    logs = set(await link.call("KEYS", f"turnlog:{tenant}:*"))
    for queue in await link.call("KEYS", "turnlog:load:*"):
        logs |= {one for one in await link.call("ZRANGE", queue, 0, -1) if one.startswith(tenant.encode())}
    return logs


async def test_turn_that_was_given_up_before_its_commit_leaves_no_trace(
    stack: Stack, client: GrpcClient
) -> None:
    tenant = await stack.new_tenant()
    own = GrpcClient(client.channel, tenant.api_key)
    session_id = await own.create_session("bootstrap")
    url = Environment(stack.settings).postgres_url("postgres")
    blocker: Any = await asyncpg.connect(url)
    async with Link.open(redis_url(stack)) as link:
        try:
            async with asyncio.timeout(SECONDS), blocker.transaction():
                await blocker.fetch(
                    "select id from orchestrator.sessions where id = $1 for no key update", session_id
                )
                stream = own.stream(session_id, "Hi.", request_id=uuid.uuid4().hex, recall=False)
                asking = asyncio.ensure_future(anext(stream))
                # The row of the session is waited for after the log was opened.
                while not await link.call("KEYS", f"turnlog:{tenant.tenant}:*"):  # noqa: ASYNC110 - Redis has no event for it
                    await asyncio.sleep(0.02)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                while await keys_of(link, tenant.tenant):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.02)
        finally:
            await blocker.close()
    request = service_pb2.ListTurnsRequest(session_id=session_id)
    answer = await own.turns.ListTurns(request, metadata=own.metadata, timeout=10)
    assert list(answer.turns) == []
