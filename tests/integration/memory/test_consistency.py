"""Rows and vectors stay one: after a crash at any step, and whatever a caller tries."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soma.memory.v1 import service_pb2

from mesh.runtime.context import NoCallError, acting_for
from mesh.runtime.errors import Unavailable
from mesh.runtime.ids import new_id
from mesh.stack.settings import StackSettings
from services.memory.domain import texts
from services.memory.domain.resources import Memory
from services.memory.ingestion import Given
from services.memory.reindex import Rebuild
from services.memory.store.vectors import Narrowing, Point, Space
from tests.integration.memory.conftest import Connect
from tests.integration.memory.parts import Parts, memory_environment, new_tenant, request, tenant
from tests.support import stack as stacks


def given_document(text: str, source: str = "a.txt") -> Given:
    return Given(title="", source=source, media_type="text/plain", content=text.encode(), labels={})


async def recalled(parts: Parts, query: str) -> list[str]:
    return [one.found.text for one in await parts.retrieval.recall(query, limit=5, labels={}, session_id="")]


async def retrieved(parts: Parts, query: str) -> list[str]:
    found = await parts.retrieval.retrieve(query, limit=5, labels={}, document_ids=[])
    return [one.found.text for one in found]


async def points(parts: Parts, space: Space) -> set[str]:
    return {one async for page in parts.vectors.ids(space) for one in page}


async def test_a_memory_whose_point_a_crash_left_out_is_indexed_by_the_sweeper(parts: Parts) -> None:
    with tenant():
        memory = await unindexed(parts, "The anchor weighs two tons.")
        assert await points(parts, Space.MEMORIES) == set()
        await parts.sweeper.sweep(older_than=0.0)
        assert await recalled(parts, "How heavy is the anchor?") == [memory.text]


async def unindexed(parts: Parts, text: str) -> Memory:
    """Commit the row as `remember` does, and crash before its next step."""
    memory = parts.remembering._new(text, session_id="", labels={})
    told = parts.remembering._told(memory, action="memories.remember")
    assert await parts.memories.add(memory, request=request(), events=told) is not None
    return memory


async def test_a_repeat_of_the_request_finishes_what_a_crash_cut_off(parts: Parts) -> None:
    with tenant():
        memory = parts.remembering._new("The mast is of oak.", session_id="", labels={})
        asked = request("crashed")
        await parts.memories.add(memory, request=asked, events=[])
        again = await parts.remembering.remember(memory.text, session_id="", labels={}, request=asked)
        assert again == memory
        assert await recalled(parts, "mast") == [memory.text]


async def test_a_point_whose_removal_a_crash_left_out_is_not_found_and_then_gone(parts: Parts) -> None:
    with tenant():
        text = "The captain's parrot is green."
        memory = await parts.remembering.remember(text, session_id="", labels={}, request=request())
        await parts.remembering.forget(memory.id)
        assert await recalled(parts, "parrot") == []
        await parts.sweeper.sweep(older_than=0.0)
        assert await points(parts, Space.MEMORIES) == set()


async def test_a_version_that_a_crash_left_half_indexed_is_not_seen_until_it_is_whole(parts: Parts) -> None:
    with tenant():
        await parts.ingestion.ingest(given_document("The old rule: dogs are forbidden."), request=request())
        new = "\n\n".join(["The new rule: dogs are welcome.", *(f"Rule {n}. " * 30 for n in range(6))])
        content = given_document(new)
        reading = await parts.ingestion._reader.read(content.content, content.media_type, tenant="any")
        with acting_for(tenant=stores_tenant()) as call:
            call.caller = "gateway"
            version = parts.ingestion._version(content, reading)
        staged = await parts.documents.stage(version, request=request())
        left = await parts.documents.unindexed(staged, limit=2)
        await parts.indexer.put_passages(left)
        await parts.documents.mark_indexed([one.passage.id for one in left])
        assert await retrieved(parts, "dogs") == ["The old rule: dogs are forbidden."]
        await parts.sweeper.sweep(older_than=0.0)
        found = await retrieved(parts, "dogs")
        assert any("welcome" in one for one in found)
        assert not any("forbidden" in one for one in found)
        await parts.sweeper.sweep(older_than=0.0)
        [document] = (await parts.ingestion.page(size=10, token="")).documents
        assert len(await points(parts, Space.PASSAGES)) == document.passage_count


def stores_tenant() -> str:
    from services.memory.store.tenancy import tenant as own

    return own()


async def test_an_older_version_never_takes_the_place_of_a_newer_one(parts: Parts) -> None:
    with tenant():
        contents = [f"Edition {number} of the almanac." for number in range(6)]
        await asyncio.gather(
            *(parts.ingestion.ingest(given_document(one), request=request()) for one in contents),
            return_exceptions=True,
        )
        await parts.sweeper.sweep(older_than=0.0)
        [document] = (await parts.ingestion.page(size=10, token="")).documents
        found = await retrieved(parts, "almanac")
        assert len(found) == 1
        assert hashlib.sha256(found[0].encode()).hexdigest() == document.digest


async def test_vectors_that_were_lost_are_made_again_from_the_rows(parts: Parts) -> None:
    with tenant() as owner:
        await parts.remembering.remember("The bell rings twice.", session_id="", labels={}, request=request())
        await parts.ingestion.ingest(
            given_document("The bell tower is closed on Mondays."), request=request()
        )
        stray = Point(id=new_id("psg"), meaning=[0.1] * 384, words=parts.words.text("stray"))
        await parts.vectors.put(Space.PASSAGES, [stray])
        for space in Space:
            lost = await points(parts, space) - {stray.id}
            await parts.vectors.remove(space, sorted(lost))
        assert await recalled(parts, "bell") == await retrieved(parts, "bell") == []
        rebuild = Rebuild(backlog=parts.backlog, indexer=parts.indexer, vectors=parts.vectors)
        assert await rebuild.run([owner], drop=False) == 2
        assert await recalled(parts, "bell") == ["The bell rings twice."]
        assert await retrieved(parts, "bell") == ["The bell tower is closed on Mondays."]
        assert stray.id not in await points(parts, Space.PASSAGES)


async def test_the_command_makes_one_tenants_vectors_again(running: StackSettings, parts: Parts) -> None:
    with tenant() as owner:
        made = await parts.remembering.remember(
            "The rudder is new.", session_id="", labels={}, request=request()
        )
        await parts.vectors.remove(Space.MEMORIES, [made.id])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.memory.reindex", "--tenant", owner),
            env=memory_environment(str(running.home.root)),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert (process.returncode, out) == (0, b"1 points made\n")
        assert await recalled(parts, "rudder") == ["The rudder is new."]


async def test_no_store_works_without_a_tenant(parts: Parts) -> None:
    words = parts.words.query("x")
    for call in (
        parts.vectors.search(Space.MEMORIES, meaning=[0.1] * 384, words=words, limit=1),
        parts.vectors.remove(Space.MEMORIES, [new_id("mem")]),
        parts.memories.page(before=None, size=1),
        parts.documents.page(before=None, size=1),
        parts.knowledge.read(memories=[new_id("mem")]),
    ):
        with pytest.raises(NoCallError):
            await call
    with pytest.raises(ValueError, match="tenant"):
        acting_for(tenant="").__enter__()


HOSTILE = st.text(max_size=12) | st.sampled_from(
    ["*", "%", "tenant", "' or 1=1 --", '{"should": []}', "label=tenant", "\x00", "=", "a=b", "test-other"]
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(labels=st.lists(HOSTILE, max_size=3), session=HOSTILE, documents=st.lists(HOSTILE, max_size=3))
async def test_no_narrowing_reaches_another_tenants_points(
    parts: Parts, labels: Sequence[str], session: str, documents: Sequence[str]
) -> None:
    texts.label_terms({"a": "b"})
    words = parts.words.text("the secret of the other tenant")
    with tenant() as other:
        foreign = [
            Point(id=new_id("mem"), meaning=[0.1] * 384, words=words, labels=list(labels), session=session),
        ]
        await parts.vectors.put(Space.MEMORIES, foreign)
        with tenant(f"{other}-b"):
            found = await parts.vectors.search(
                Space.MEMORIES,
                meaning=[0.1] * 384,
                words=words,
                limit=10,
                narrowing=Narrowing(labels=labels, session=session, documents=documents),
            )
            assert found.meaning == found.words == []
            await parts.vectors.remove(Space.MEMORIES, [foreign[0].id])
        assert await points(parts, Space.MEMORIES) == {foreign[0].id}
        await parts.vectors.remove(Space.MEMORIES, [foreign[0].id])


async def test_kill_9_of_the_service_loses_nothing_that_it_answered(
    running: StackSettings, connect: Connect, parts: Parts
) -> None:
    owner = new_tenant()
    client = await connect(tenant=owner)
    answered: list[str] = []

    async def write() -> None:
        for number in range(10_000):
            text = f"Fact {number}: crate {number} stands in row {number % 17}."
            made = await client.memories.Remember(
                service_pb2.RememberRequest(text=text), metadata=client.metadata
            )
            answered.append(made.id)

    writing = asyncio.ensure_future(write())
    await asyncio.sleep(1.0)
    [row] = [one for one in await stacks.processes(running) if one.name == "memory"]
    assert row.pid is not None
    os.kill(row.pid, signal.SIGKILL)
    with pytest.raises(Exception):  # noqa: B017, PT011 (whatever a broken connection is told as)
        await writing
    with tenant(owner):
        await parts.sweeper.sweep(older_than=0.0)
        kept = await points(parts, Space.MEMORIES)
        rows: Any = (await parts.remembering.page(size=1000, token="")).memories
    assert answered
    assert set(answered) <= {one.id for one in rows} == kept
    async with asyncio.timeout(60):
        while not any(  # noqa: ASYNC110 (the supervisor tells by its status alone)
            one.name == "memory" and one.state == "ready" for one in await stacks.processes(running)
        ):
            await asyncio.sleep(0.5)


async def test_kill_9_of_the_vector_server_is_a_pause_and_no_loss(
    running: StackSettings, parts: Parts
) -> None:
    with tenant():
        await parts.remembering.remember("The sail is red.", session_id="", labels={}, request=request())
        [row] = [one for one in await stacks.processes(running) if one.name == "vectors"]
        assert row.pid is not None
        os.kill(row.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while True:
                try:
                    found = await recalled(parts, "What colour is the sail?")
                except Unavailable as error:  # past the pauses of the store: the caller is told to try again
                    assert error.retry_after  # noqa: PT017 (it may come or not)
                    continue
                break
        assert found == ["The sail is red."]
        await parts.remembering.remember("The hull is blue.", session_id="", labels={}, request=request())
        assert set(await recalled(parts, "colour")) == {"The sail is red.", "The hull is blue."}
