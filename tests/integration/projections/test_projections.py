"""From the broker to the audit log and to memory: all of it, once, whatever dies on the way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1 import service_pb2 as audit
from soma.audit.v1.resources_pb2 import AuditRecord
from soma.memory.v1 import service_pb2 as memory
from soma.memory.v1 import service_pb2_grpc as memory_rpc
from soma.orchestrator.v1 import resources_pb2 as turns
from soma.orchestrator.v1.events_pb2 import TurnEnded

from mesh.events.bus import Bus
from mesh.events.records import Record
from mesh.runtime.ids import new_id
from mesh.stack.settings import StackSettings
from tests.integration.projections.conftest import Records
from tests.support import stack as stacks
from tests.support.identity import channel_as
from tests.support.tokens import Metadata, token_for

SECONDS = 30.0
Found = TypeVar("Found")


@pytest.fixture
async def mine(settings: StackSettings, tenant: str) -> Metadata:
    """A token of the test's tenant."""
    return await token_for(settings, tenant, "audit.read", "memories.read")


def fact(tenant: str, number: int = 0, *, of: str = "") -> Record[AuditRecord]:
    message = AuditRecord(
        id=new_id("aud"),
        tenant=of or tenant,
        action="test.act",
        resource=str(number),
        time=Timestamp(seconds=1),
    )
    return Record(id=message.id, topic="audit.records", key=tenant, tenant=tenant, message=message)


def ended(tenant: str, *, remember: bool) -> Record[TurnEnded]:
    turn = turns.Turn(
        id=new_id("trn"),
        session_id=new_id("ses"),
        state=turns.TURN_STATE_COMPLETED,
        input=turns.Input(text="The spare key lies under the third flower pot."),
        text="I shall remember that.",
    )
    message = TurnEnded(id=f"{turn.id}-ended", turn=turn, persona="guide", remember=remember)
    return Record(id=message.id, topic="turns.events", key=turn.session_id, tenant=tenant, message=message)


async def until(look: Callable[[], Awaitable[Found]], holds: Callable[[Found], bool]) -> Found:
    """Look until it holds."""
    async with asyncio.timeout(SECONDS):
        while not holds(found := await look()):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.05)
    return found


async def test_every_record_is_in_the_chain_once_in_order(
    bus: Bus, records: Records, tenant: str, mine: Metadata
) -> None:
    facts = [fact(tenant, number) for number in range(300)]
    for start in range(0, 300, 50):
        await asyncio.gather(*(bus.publish(each) for each in facts[start : start + 50]))
    await asyncio.gather(*(bus.publish(each) for each in facts[:20]))  # delivered a second time

    async def verify() -> audit.VerifyChainResponse:
        return await records.VerifyChain(audit.VerifyChainRequest(), metadata=mine)

    found = await until(verify, lambda answer: answer.record_count >= 300)
    assert (found.valid, found.record_count) == (True, 300)
    listed = await records.ListRecords(audit.ListRecordsRequest(page_size=1000), metadata=mine)
    assert {each.record.id for each in listed.records} == {each.id for each in facts}


async def test_a_record_that_is_refused_does_not_stop_the_others(
    bus: Bus, records: Records, tenant: str, mine: Metadata
) -> None:
    nameless = fact(tenant)
    nameless.message.id = "turn-1"
    await bus.publish(nameless)
    await bus.publish(fact(tenant, of=new_id("tnt")))
    good = fact(tenant)
    await bus.publish(good)

    async def look() -> audit.ListRecordsResponse:
        return await records.ListRecords(audit.ListRecordsRequest(), metadata=mine)

    listed = await until(look, lambda answer: len(answer.records) > 0)
    assert [each.record.id for each in listed.records] == [good.id]


async def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing(
    settings: StackSettings, bus: Bus, records: Records, tenant: str, mine: Metadata
) -> None:
    rows = await stacks.processes(settings)
    pid = next(row.pid for row in rows if row.name == "worker-projections")
    assert pid is not None
    facts = [fact(tenant, number) for number in range(400)]
    for start in range(0, 400, 40):
        await asyncio.gather(*(bus.publish(each) for each in facts[start : start + 40]))
        if start == 80:
            os.kill(pid, signal.SIGKILL)

    async def verify() -> audit.VerifyChainResponse:
        return await records.VerifyChain(audit.VerifyChainRequest(), metadata=mine)

    found = await until(verify, lambda answer: answer.record_count >= 400)
    await asyncio.sleep(1)
    found = await verify()
    assert (found.valid, found.record_count) == (True, 400)


async def test_a_turn_becomes_one_memory_where_its_persona_remembers(
    settings: StackSettings, bus: Bus, tenant: str, mine: Metadata
) -> None:
    kept, dropped = ended(tenant, remember=True), ended(tenant, remember=False)
    await bus.publish(dropped)
    await asyncio.gather(*(bus.publish(kept) for _ in range(3)))
    async with channel_as(settings, "gateway", to="memory") as channel:
        memories = memory_rpc.MemoriesStub(channel)

        async def look() -> memory.ListMemoriesResponse:
            return await memories.ListMemories(memory.ListMemoriesRequest(), metadata=mine)

        await until(look, lambda answer: len(answer.memories) > 0)
        await asyncio.sleep(1)
        (found,) = (await look()).memories
    assert "flower pot" in found.text
    assert found.session_id == kept.message.turn.session_id
