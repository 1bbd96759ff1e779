"""Turns wait for a model in turn by tenant: many of one do not all come before the one of another."""

import asyncio
import time

from tests.bench.driver import Journal, follow
from tests.support.stack import Stack
from tests.support.talk import TEXT
from tests.support.wires import GrpcClient

CROWD = 60
OPTIONS = {"max_tokens": 128, "min_tokens": 128, "recall": False}


async def test_a_tenants_many_turns_do_not_come_before_anothers_one(stack: Stack, client: GrpcClient) -> None:
    other = GrpcClient(client.channel, (await stack.new_tenant()).api_key)
    session = await other.create_session("bootstrap")
    crowd = [Journal(await client.create_session("bootstrap")) for _ in range(CROWD)]
    working = [
        asyncio.create_task(follow(client, one.session_id, TEXT, journal=one, **OPTIONS)) for one in crowd
    ]
    deadline = time.monotonic() + 30
    while not all(one.events for one in crowd):
        assert time.monotonic() < deadline, "not all were accepted"
        await asyncio.sleep(0.01)
    behind = sum(not one.first_delta for one in crowd)
    assert behind >= CROWD // 2, "they were too fast"
    modest = Journal(session)
    follow_modest = asyncio.create_task(follow(other, session, TEXT, journal=modest, **OPTIONS))
    while not modest.first_delta:
        assert time.monotonic() < deadline, "the other tenant's turn did not begin"
        await asyncio.sleep(0.005)
    still = sum(not one.first_delta for one in crowd)
    assert still >= behind // 2, f"{behind - still} of {behind} that waited came before it"
    for one in await asyncio.gather(*working, follow_modest):
        assert one.events[-1].kind == "completed"
