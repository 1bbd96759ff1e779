"""The reading of documents in a confined child process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import pytest

from mesh.runtime.errors import InvalidArgument, ResourceExhausted
from services.memory.reading.blocks import Bounds
from services.memory.reading.lane import Lane
from services.memory.reading.reader import Reader
from tests.unit.memory.pdf import pdf_of

BOUNDS = Bounds()
SLOW = b"[[[[" * 200_000  # hours for any reader of Markdown


@contextlib.asynccontextmanager
async def a_lane(*, seconds: float) -> AsyncIterator[Lane]:
    lane = Lane(bounds=BOUNDS, seconds=seconds)
    try:
        yield lane
    finally:
        await lane.end()


async def test_a_child_stays_for_the_next_text_and_ends_with_a_pdf() -> None:
    async with a_lane(seconds=20) as lane:
        await lane.read(b"one", "text/plain")
        first = lane._child
        assert first is not None
        await lane.read(b"# two\n\nthree", "text/markdown")
        assert lane._child is first
        found = await lane.read(pdf_of("A page."), "application/pdf")
        assert [one.text for one in found.passages] == ["A page."]
        assert first.returncode is not None
        assert (await lane.read(b"four", "text/plain")).passages[0].text == "four"


async def test_a_document_that_takes_too_long_is_refused_and_the_next_one_read() -> None:
    async with a_lane(seconds=2) as lane:
        with pytest.raises(InvalidArgument, match="longer than 2 s"):
            await lane.read(SLOW, "text/markdown")
        assert (await lane.read(b"next", "text/plain")).passages


async def test_a_document_that_kills_the_child_is_refused_and_the_next_one_read() -> None:
    async with a_lane(seconds=30) as lane:
        reading = asyncio.ensure_future(lane.read(SLOW, "text/markdown"))
        await asyncio.sleep(0.5)
        assert lane._child is not None
        os.kill(lane._child.pid, signal.SIGKILL)
        with pytest.raises(InvalidArgument, match="bounds"):
            await reading
        assert (await lane.read(b"next", "text/plain")).passages


@pytest.mark.parametrize("pause", [0.0, 0.2])
async def test_a_warm_child_that_died_costs_the_next_document_nothing(pause: float) -> None:
    async with a_lane(seconds=30) as lane:
        await lane.read(b"warm", "text/plain")
        assert lane._child is not None
        os.kill(lane._child.pid, signal.SIGKILL)
        await asyncio.sleep(pause)
        assert (await lane.read(b"next", "text/plain")).passages


async def test_an_idle_child_ends_and_the_next_document_gets_a_new_one() -> None:
    async with a_lane(seconds=30) as lane:
        await lane.read(b"warm", "text/plain")
        child = lane._child
        assert child is not None
        lane.let_go()  # what the timer does after half a minute
        assert (await lane.read(b"next", "text/plain")).passages
        await child.wait()


async def test_more_documents_than_may_wait_are_refused_at_once() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=20, lanes=1, waiting=2) as reader:
        found = await asyncio.gather(
            *(reader.read(b"text", "text/plain", tenant="a") for _ in range(6)), return_exceptions=True
        )
    assert [type(one).__name__ for one in found].count("Reading") == 3
    refused = [one for one in found if isinstance(one, ResourceExhausted)]
    assert len(refused) == 3
    assert all(one.retry_after for one in refused)


async def test_a_tenants_long_documents_hold_up_nobody_elses() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=4, lanes=2, waiting=3) as reader:
        slow = [asyncio.ensure_future(reader.read(SLOW, "text/markdown", tenant="greedy")) for _ in range(4)]
        await asyncio.sleep(0)
        async with asyncio.timeout(3):  # less than one of those takes
            for number in range(3):
                reading = await reader.read(b"text %d" % number, "text/plain", tenant="modest")
                assert reading.passages[0].text == f"text {number}"
        assert not any(one.done() for one in slow)
        for one in slow:
            one.cancel()
        await asyncio.wait(slow)
        assert (await reader.read(b"next", "text/plain", tenant="greedy")).passages


async def test_where_no_more_may_wait_the_tenant_that_waits_most_gives_way() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=20, lanes=1, waiting=3) as reader:
        crowd = [asyncio.ensure_future(reader.read(SLOW, "text/markdown", tenant="greedy")) for _ in range(4)]
        await asyncio.sleep(0)
        modest = asyncio.ensure_future(reader.read(b"text", "text/plain", tenant="modest"))
        with pytest.raises(ResourceExhausted):
            await crowd[-1]
        crowd[0].cancel()
        assert (await modest).passages[0].text == "text"
        for one in crowd:
            one.cancel()
        await asyncio.wait(crowd)


async def test_the_child_has_no_secrets_and_no_files() -> None:
    os.environ["SOMA_SECRET_OF_THE_TEST"] = "x"
    try:
        async with a_lane(seconds=20) as lane:
            await lane.read(b"text", "text/plain")
            assert lane._child is not None
            with open(f"/proc/{lane._child.pid}/environ", "rb") as file:  # noqa: PTH123, ASYNC230 (/proc)
                environment = file.read()
            with open(f"/proc/{lane._child.pid}/limits") as file:  # noqa: PTH123, ASYNC230 (/proc)
                limits = file.read()
    finally:
        del os.environ["SOMA_SECRET_OF_THE_TEST"]
    assert b"SOMA_" not in environment
    assert "Max processes             0" in limits
    assert "Max file size             0" in limits
    assert "Max address space         1073741824" in limits


async def test_the_child_ends_with_its_reader() -> None:
    async with a_lane(seconds=20) as lane:
        await lane.read(b"text", "text/plain")
        child = lane._child
    assert child is not None
    assert child.returncode is not None
