"""What nobody sensible sends."""

from __future__ import annotations

import grpc
import pytest
from soma.memory.v1 import service_pb2

from tests.integration.memory.asking import document, refused
from tests.integration.memory.conftest import Client, Connect


@pytest.fixture(scope="module")
async def client(connect: Connect) -> Client:
    return await connect()


@pytest.mark.parametrize(
    "content", ["a\x00b", "\U0001f600" * 8192, "\u202e\ufffd\n\t", "'; drop table memories; --"]
)
async def test_no_text_is_too_strange(client: Client, content: str) -> None:
    call = client.memories.Remember(
        service_pb2.RememberRequest(text=content, labels={"kind": content[:200]}),
        metadata=client.metadata,
        timeout=30,
    )
    if "\x00" in content:
        await refused(call, code=grpc.StatusCode.INVALID_ARGUMENT, why="INVALID_ARGUMENT")
    else:
        assert (await call).text == content


async def test_no_source_is_too_long(client: Client) -> None:
    source = "\u4e2d" * 2048
    made = await client.documents.IngestDocument(
        document(source=source), metadata=client.metadata, timeout=60
    )
    again = await client.documents.IngestDocument(
        document(source=source), metadata=client.metadata, timeout=60
    )
    assert (made.source, again.id) == (source, made.id)


async def test_a_turn_that_says_nothing_consults_nothing(client: Client) -> None:
    found = await client.knowledge.Consult(
        service_pb2.ConsultRequest(query=" \n", memory_limit=5, passage_limit=5), metadata=client.metadata
    )
    assert not found.memories
    assert not found.passages
    await refused(
        client.memories.Recall(service_pb2.RecallRequest(query=" \n"), metadata=client.metadata),
        code=grpc.StatusCode.INVALID_ARGUMENT,
    )
