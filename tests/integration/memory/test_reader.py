"""The reading of documents in a confined child process."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from mesh.runtime.errors import InvalidArgument, ResourceExhausted
from services.memory.reading.blocks import Bounds
from services.memory.reading.reader import Reader
from tests.unit.memory.pdf import pdf_of

BOUNDS = Bounds()
SLOW = b"[[[[" * 200_000  # hours for any reader of Markdown


async def test_a_child_stays_for_the_next_text_and_ends_with_a_pdf() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=20, waiting=4) as reader:
        await reader.read(b"one", "text/plain")
        first = reader._child
        assert first is not None
        await reader.read(b"# two\n\nthree", "text/markdown")
        assert reader._child is first
        found = await reader.read(pdf_of("A page."), "application/pdf")
        assert [one.text for one in found.passages] == ["A page."]
        assert first.returncode is not None
        assert (await reader.read(b"four", "text/plain")).passages[0].text == "four"


async def test_a_document_that_takes_too_long_is_refused_and_the_next_one_read() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=2, waiting=4) as reader:
        with pytest.raises(InvalidArgument, match="longer than 2 s"):
            await reader.read(SLOW, "text/markdown")
        assert (await reader.read(b"next", "text/plain")).passages


async def test_a_document_that_kills_the_child_is_refused_and_the_next_one_read() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=30, waiting=4) as reader:
        reading = asyncio.ensure_future(reader.read(SLOW, "text/markdown"))
        await asyncio.sleep(0.5)
        assert reader._child is not None
        os.kill(reader._child.pid, signal.SIGKILL)
        with pytest.raises(InvalidArgument, match="bounds"):
            await reading
        assert (await reader.read(b"next", "text/plain")).passages


@pytest.mark.parametrize("pause", [0.0, 0.2])
async def test_a_warm_child_that_died_costs_the_next_document_nothing(pause: float) -> None:
    async with Reader.open(bounds=BOUNDS, seconds=30, waiting=4) as reader:
        await reader.read(b"warm", "text/plain")
        assert reader._child is not None
        os.kill(reader._child.pid, signal.SIGKILL)
        await asyncio.sleep(pause)
        assert (await reader.read(b"next", "text/plain")).passages


async def test_an_idle_child_ends_and_the_next_document_gets_a_new_one() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=30, waiting=4) as reader:
        await reader.read(b"warm", "text/plain")
        child = reader._child
        assert child is not None
        reader._let_go()  # what the timer does after half a minute
        assert (await reader.read(b"next", "text/plain")).passages
        await child.wait()


async def test_more_documents_than_may_wait_are_refused_at_once() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=20, waiting=2) as reader:
        found = await asyncio.gather(
            *(reader.read(b"text", "text/plain") for _ in range(5)), return_exceptions=True
        )
    assert [type(one).__name__ for one in found].count("Reading") == 2
    refused = [one for one in found if isinstance(one, ResourceExhausted)]
    assert len(refused) == 3
    assert all(one.retry_after for one in refused)


async def test_the_child_has_no_secrets_and_no_files() -> None:
    os.environ["SOMA_SECRET_OF_THE_TEST"] = "x"
    try:
        async with Reader.open(bounds=BOUNDS, seconds=20, waiting=2) as reader:
            await reader.read(b"text", "text/plain")
            assert reader._child is not None
            with open(f"/proc/{reader._child.pid}/environ", "rb") as file:  # noqa: PTH123, ASYNC230 (/proc)
                environment = file.read()
            with open(f"/proc/{reader._child.pid}/limits") as file:  # noqa: PTH123, ASYNC230 (/proc)
                limits = file.read()
    finally:
        del os.environ["SOMA_SECRET_OF_THE_TEST"]
    assert b"SOMA_" not in environment
    assert "Max processes             0" in limits
    assert "Max file size             0" in limits
    assert "Max address space         1073741824" in limits


async def test_the_child_ends_with_its_reader() -> None:
    async with Reader.open(bounds=BOUNDS, seconds=20, waiting=2) as reader:
        await reader.read(b"text", "text/plain")
        child = reader._child
    assert child is not None
    assert child.returncode is not None
