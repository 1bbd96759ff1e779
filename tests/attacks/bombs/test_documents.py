# ruff: noqa: PT017 - a document may be read or refused
"""Documents that are dear to read: read within bounds or refused with a reason, and the next one is read.

The reader's child has a bound on memory and on time, and is killed where it passes one. Its bounds
here are the service's, but for the time, which the tests would otherwise spend.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import resource
from collections.abc import AsyncIterator

import pytest

from mesh.runtime.errors import InvalidArgument
from services.memory.reading.blocks import Bounds
from services.memory.reading.child import MEMORY
from services.memory.reading.lane import Lane
from tests.attacks.bombs.documents import DOCUMENTS
from tests.attacks.steadiness import Steadiness
from tests.support.edge import Edge
from tests.support.stack import Stack

SECONDS = 8.0
# The slowest of their kinds; the whole road, with a bystander beside it.
WHOLE_ROAD = (
    "PDF: text that inflates 1,000 times",
    "HTML: nested elements",
    "text: control characters",
    "text: as large as it may be",
)


@pytest.fixture(scope="module")
async def lane() -> AsyncIterator[Lane]:
    made = Lane(bounds=Bounds(), seconds=SECONDS)
    yield made
    await made.end()


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_a_document_is_read_within_bounds_or_refused(lane: Lane, name: str) -> None:
    media_type, make = DOCUMENTS[name]
    try:
        found = await lane.read(make(), media_type)
    except InvalidArgument as error:
        assert error.reason == "DOCUMENT_UNREADABLE"
        assert "Traceback" not in error.message
    else:
        assert all(one.text.strip() for one in found.passages)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 <= MEMORY * 2
    await _reads_on(lane)


async def _reads_on(lane: Lane) -> None:
    """Read the next document; on a loaded machine a new child may take longer to start than it has."""
    for _ in range(20):
        with contextlib.suppress(InvalidArgument):
            assert (await lane.read(b"the next document", "text/plain")).passages
            return
    raise AssertionError("the reader reads no more")


@pytest.mark.parametrize("name", WHOLE_ROAD)
async def test_others_are_served_while_one_is_read(
    stack: Stack, edge: Edge, stranger: Edge, name: str
) -> None:
    before = await Steadiness.of(stack)
    media_type, make = DOCUMENTS[name]
    body = {"media_type": media_type, "content": base64.b64encode(make()).decode(), "source": "bomb"}
    reading = asyncio.create_task(stranger.post("/v1/documents", body))
    for _ in range(10):
        assert (await edge.get("/v1/memories?page_size=1")).status == 200
    answer = await reading
    assert answer.status == 200 or answer.reason == "DOCUMENT_UNREADABLE", answer
    await before.check()
