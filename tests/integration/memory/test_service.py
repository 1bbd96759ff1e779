"""Memory over mTLS: what its callers see."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from soma.audit.v1 import resources_pb2 as audit_pb
from soma.memory.v1 import events_pb2, resources_pb2, service_pb2

from mesh.runtime.channels import MeshChannel
from mesh.stack.settings import StackSettings
from tests.integration.memory.asking import MARKDOWN, document, refused
from tests.integration.memory.conftest import Client, Connect, channel_of
from tests.integration.memory.parts import Parts, new_tenant
from tests.unit.memory.pdf import pdf_of


@pytest.fixture(scope="module")
async def client(connect: Connect) -> Client:
    return await connect()


async def test_a_remembered_text_is_recalled_when_the_call_returns(client: Client) -> None:
    text = "The lighthouse keeper is called Ingrid and keeps bees."
    made = await client.memories.Remember(
        service_pb2.RememberRequest(text=text, labels={"kind": "person"}), metadata=client.metadata
    )
    found = await client.memories.Recall(
        service_pb2.RecallRequest(query="Who looks after the lighthouse?"), metadata=client.metadata
    )
    assert found.memories[0].memory == made
    assert made.text == text
    assert 0 < found.memories[0].score <= 1


async def test_a_repeat_of_a_request_has_one_effect(client: Client) -> None:
    ask = service_pb2.RememberRequest(text="Said once.", request_id="once-1")
    made = [await client.memories.Remember(ask, metadata=client.metadata) for _ in range(2)]
    together = await asyncio.gather(
        *(
            client.memories.Remember(
                service_pb2.RememberRequest(text="Said at once.", request_id="once-2"),
                metadata=client.metadata,
            )
            for _ in range(5)
        )
    )
    assert made[0] == made[1]
    assert len({one.id for one in together}) == 1
    other = service_pb2.RememberRequest(text="Something else.", request_id="once-1")
    await refused(
        client.memories.Remember(other, metadata=client.metadata),
        code=grpc.StatusCode.ALREADY_EXISTS,
        why="REQUEST_ID_REUSED",
    )


async def test_lists_are_paged_newest_first(connect: Connect) -> None:
    client = await connect()
    for number in range(5):
        await client.memories.Remember(
            service_pb2.RememberRequest(text=f"Number {number}."), metadata=client.metadata
        )
    seen: list[str] = []
    token = ""
    while True:
        page = await client.memories.ListMemories(
            service_pb2.ListMemoriesRequest(page_size=2, page_token=token), metadata=client.metadata
        )
        seen += [one.text for one in page.memories]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"Number {number}." for number in reversed(range(5))]
    await refused(
        client.memories.ListMemories(
            service_pb2.ListMemoriesRequest(page_token="bm9uZQ"), metadata=client.metadata
        ),
        code=grpc.StatusCode.INVALID_ARGUMENT,
    )


async def test_what_is_forgotten_is_found_no_more(client: Client) -> None:
    made = await client.memories.Remember(
        service_pb2.RememberRequest(text="The password of the vault is swordfish."), metadata=client.metadata
    )
    await client.memories.Forget(service_pb2.ForgetRequest(memory_id=made.id), metadata=client.metadata)
    found = await client.memories.Recall(
        service_pb2.RecallRequest(query="What is the password of the vault?"), metadata=client.metadata
    )
    assert made.id not in [one.memory.id for one in found.memories]
    for call in (
        client.memories.GetMemory(service_pb2.GetMemoryRequest(memory_id=made.id), metadata=client.metadata),
        client.memories.Forget(service_pb2.ForgetRequest(memory_id=made.id), metadata=client.metadata),
    ):
        await refused(call, code=grpc.StatusCode.NOT_FOUND, why="NOT_FOUND")


async def test_a_document_is_retrieved_with_its_citation(connect: Connect) -> None:
    client = await connect()
    made = await client.documents.IngestDocument(document(), metadata=client.metadata, timeout=60)
    assert made.title == "Harbour rules"
    assert made.passage_count == 2
    found = await client.documents.Retrieve(
        service_pb2.RetrieveRequest(query="Where does a ship go in strong wind?"), metadata=client.metadata
    )
    first = found.passages[0]
    assert first.text == "A ship moors at the eastern quay when the wind exceeds thirty knots."
    assert (first.document_id, first.title, first.source) == (made.id, "Harbour rules", "harbour.md")
    assert list(first.headings) == ["Harbour rules", "Mooring"]
    assert first.end - first.start == len(first.text)
    scores = [one.score for one in found.passages]
    assert scores == sorted(scores, reverse=True)


async def test_a_changed_document_takes_the_place_of_the_one_before(connect: Connect) -> None:
    client = await connect()
    first = await client.documents.IngestDocument(document(), metadata=client.metadata, timeout=60)
    same = await client.documents.IngestDocument(document(), metadata=client.metadata, timeout=60)
    assert same == first
    changed = await client.documents.IngestDocument(
        document(MARKDOWN.replace("forty", "ninety")), metadata=client.metadata, timeout=60
    )
    assert changed.id == first.id
    assert changed.digest != first.digest
    found = await client.documents.Retrieve(
        service_pb2.RetrieveRequest(query="How much is the fee for a night?", limit=10),
        metadata=client.metadata,
    )
    fees = [one.text for one in found.passages if "fee" in one.text]
    assert fees == ["The fee is ninety crowns a night. Sailing vessels pay half."]
    listed = await client.documents.ListDocuments(
        service_pb2.ListDocumentsRequest(), metadata=client.metadata
    )
    assert list(listed.documents) == [changed]


async def test_a_search_keeps_to_labels_and_documents(connect: Connect) -> None:
    client = await connect()
    made = [
        await client.documents.IngestDocument(
            document(source=f"{name}.md", labels={"quay": name}), metadata=client.metadata, timeout=60
        )
        for name in ("north", "south")
    ]
    by_label = await client.documents.Retrieve(
        service_pb2.RetrieveRequest(query="fee", labels={"quay": "north"}), metadata=client.metadata
    )
    by_id = await client.documents.Retrieve(
        service_pb2.RetrieveRequest(query="fee", document_ids=[made[1].id]), metadata=client.metadata
    )
    assert {one.document_id for one in by_label.passages} == {made[0].id}
    assert {one.document_id for one in by_id.passages} == {made[1].id}


async def test_a_deleted_document_is_gone_with_its_passages(connect: Connect) -> None:
    client = await connect()
    made = await client.documents.IngestDocument(document(), metadata=client.metadata, timeout=60)
    await client.documents.DeleteDocument(
        service_pb2.DeleteDocumentRequest(document_id=made.id), metadata=client.metadata
    )
    found = await client.documents.Retrieve(
        service_pb2.RetrieveRequest(query="fee"), metadata=client.metadata
    )
    assert not found.passages
    again = await client.documents.IngestDocument(document(), metadata=client.metadata, timeout=60)
    assert again.id != made.id
    assert again.passage_count == 2


async def test_one_consultation_finds_memories_and_passages(connect: Connect) -> None:
    client = await connect()
    await client.documents.IngestDocument(document(), metadata=client.metadata, timeout=60)
    await client.memories.Remember(
        service_pb2.RememberRequest(text="The user's ship is called Aurora."), metadata=client.metadata
    )
    found = await client.knowledge.Consult(
        service_pb2.ConsultRequest(query="What does my ship pay?", memory_limit=3, passage_limit=1),
        metadata=client.metadata,
    )
    assert [one.memory.text for one in found.memories] == ["The user's ship is called Aurora."]
    assert len(found.passages) == 1
    none = await client.knowledge.Consult(
        service_pb2.ConsultRequest(query="What does my ship pay?"), metadata=client.metadata
    )
    assert not none.memories
    assert not none.passages


async def test_another_tenants_things_are_as_if_they_were_not(connect: Connect) -> None:
    owner, other = await connect(), await connect()
    memory = await owner.memories.Remember(
        service_pb2.RememberRequest(text="The treasure lies under the old oak."), metadata=owner.metadata
    )
    made = await owner.documents.IngestDocument(document(), metadata=owner.metadata, timeout=60)
    recalled = await other.memories.Recall(
        service_pb2.RecallRequest(query="Where is the treasure?"), metadata=other.metadata
    )
    retrieved = await other.documents.Retrieve(
        service_pb2.RetrieveRequest(query="fee", document_ids=[made.id]), metadata=other.metadata
    )
    assert not recalled.memories
    assert not retrieved.passages
    for call in (
        other.memories.GetMemory(service_pb2.GetMemoryRequest(memory_id=memory.id), metadata=other.metadata),
        other.memories.Forget(service_pb2.ForgetRequest(memory_id=memory.id), metadata=other.metadata),
        other.documents.GetDocument(
            service_pb2.GetDocumentRequest(document_id=made.id), metadata=other.metadata
        ),
        other.documents.DeleteDocument(
            service_pb2.DeleteDocumentRequest(document_id=made.id), metadata=other.metadata
        ),
    ):
        await refused(call, code=grpc.StatusCode.NOT_FOUND, why="NOT_FOUND")


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\xff\xfe\x00", "text/plain"),
        (b"text\x00more", "text/plain"),
        (b"caf\xe9", "text/markdown"),
        (b"%PDF-1.7 nothing", "application/pdf"),
        (b"<p></p>", "text/html"),
        (b"<div>" * 3000 + b"deep", "text/html"),
    ],
)
async def test_a_document_that_cannot_be_read_is_refused(
    client: Client, content: bytes, media_type: str
) -> None:
    ask = service_pb2.IngestDocumentRequest(content=content, media_type=media_type)
    await refused(
        client.documents.IngestDocument(ask, metadata=client.metadata, timeout=60),
        code=grpc.StatusCode.INVALID_ARGUMENT,
        why="DOCUMENT_UNREADABLE",
    )


async def test_a_token_without_the_scope_is_refused(connect: Connect) -> None:
    reader = await connect(scopes="memories.read")
    await refused(
        reader.memories.Remember(service_pb2.RememberRequest(text="no"), metadata=reader.metadata),
        code=grpc.StatusCode.PERMISSION_DENIED,
        why="SCOPE_MISSING",
    )
    await refused(
        reader.memories.Recall(service_pb2.RecallRequest(query="no")),
        code=grpc.StatusCode.UNAUTHENTICATED,
        why="TOKEN_MISSING",
    )


async def test_a_turn_is_remembered_once(running: StackSettings, connect: Connect) -> None:
    tenant = new_tenant()
    client = await connect(tenant=tenant)
    session = f"ses_{'1' * 32}"
    worker: MeshChannel = channel_of(running, "worker-projections")
    try:
        stub = Client(worker, "").memories
        for turn in ("a", "a", "b"):
            ask = service_pb2.RememberTurnRequest(
                session_id=session,
                turn_id=f"trn_{turn * 32}",
                input="My dog is called Rex.",
                answer="What a fine name.",
            )
            await stub.RememberTurn(ask, metadata=(("x-soma-tenant", tenant),))
    finally:
        await worker.close()
    found = await client.memories.Recall(
        service_pb2.RecallRequest(query="the dog's name", session_id=session), metadata=client.metadata
    )
    assert [one.memory.text for one in found.memories] == [
        "The user said: My dog is called Rex.\nThe agent answered: What a fine name."
    ]


async def test_indexing_goes_on_when_its_caller_is_gone(connect: Connect) -> None:
    client = await connect()
    sections = "\n\n".join(f"## Part {n}\n\nPart {n} tells of ship number {n}." for n in range(600))
    ask = document(f"# Ships\n\n{sections}", source="ships.md", request_id="ships-1")
    await refused(
        client.documents.IngestDocument(ask, metadata=client.metadata, timeout=0.6),
        code=grpc.StatusCode.DEADLINE_EXCEEDED,
    )
    again = await client.documents.IngestDocument(ask, metadata=client.metadata, timeout=60)
    assert again.passage_count == 600
    listed = await client.documents.ListDocuments(
        service_pb2.ListDocumentsRequest(), metadata=client.metadata
    )
    assert list(listed.documents) == [again]


def ingesting(
    client: Client, subject: str, *, documents: int, passages: int
) -> list[asyncio.Future[resources_pb2.Document]]:
    """Begin to ingest so many documents of so many passages, all at once."""
    sections = "\n\n".join(f"## Part {n}\n\nPart {n} tells of {subject} number {n}." for n in range(passages))
    asked = (document(f"# Parts\n\n{sections}", source=f"{subject}-{n}.md") for n in range(documents))
    return [
        asyncio.ensure_future(client.documents.IngestDocument(ask, metadata=client.metadata, timeout=90))
        for ask in asked
    ]


async def test_a_tenants_long_document_holds_up_nobody_elses(connect: Connect) -> None:
    greedy, modest = await connect(), await connect()
    long = ingesting(greedy, "cargo", documents=2, passages=800)
    await asyncio.sleep(0.5)
    for number in range(3):
        small = document(source=f"small-{number}.md")
        await modest.documents.IngestDocument(small, metadata=modest.metadata, timeout=60)
    assert not any(one.done() for one in long)
    assert [one.passage_count for one in await asyncio.gather(*long)] == [800] * 2


async def test_a_tenant_ingests_half_of_what_is_ingested_at_once(connect: Connect) -> None:
    greedy, modest = await connect(), await connect()
    many = ingesting(greedy, "rope", documents=48, passages=40)
    await asyncio.wait(many, return_when=asyncio.FIRST_EXCEPTION)
    await modest.documents.IngestDocument(document(), metadata=modest.metadata, timeout=60)
    ended = await asyncio.gather(*many, return_exceptions=True)
    refusals = [one for one in ended if isinstance(one, grpc.aio.AioRpcError)]
    assert refusals
    assert {one.code() for one in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all("QUEUE_FULL" in str(one.trailing_metadata()) for one in refusals)


async def test_a_pdf_is_cited_by_its_page(connect: Connect) -> None:
    client = await connect()
    ask = service_pb2.IngestDocumentRequest(
        content=pdf_of("The cargo is timber.", "The cook is called Olga."),
        media_type="application/pdf",
        source="manifest.pdf",
    )
    await client.documents.IngestDocument(ask, metadata=client.metadata, timeout=60)
    found = await client.documents.Retrieve(
        service_pb2.RetrieveRequest(query="Who cooks?"), metadata=client.metadata
    )
    assert (found.passages[0].page, found.passages[0].title) == (2, "manifest.pdf")


async def test_every_change_leaves_its_audit_record_and_its_event(connect: Connect, parts: Parts) -> None:
    owner = new_tenant()
    client = await connect(tenant=owner)
    memory = await client.memories.Remember(
        service_pb2.RememberRequest(text="Something."), metadata=client.metadata
    )
    made = await client.documents.IngestDocument(document(), metadata=client.metadata, timeout=60)
    await client.memories.Forget(service_pb2.ForgetRequest(memory_id=memory.id), metadata=client.metadata)
    await client.documents.DeleteDocument(
        service_pb2.DeleteDocumentRequest(document_id=made.id), metadata=client.metadata
    )
    async with parts.database.transaction(tenant=owner, readonly=True) as connection:
        rows = await connection.fetch("select topic, payload from outbox order by created_at, id")
    records = [
        audit_pb.AuditRecord.FromString(row["payload"]) for row in rows if row["topic"] == "audit.records"
    ]
    told = [
        events_pb2.MemoryEvent.FromString(row["payload"]).WhichOneof("event")
        for row in rows
        if row["topic"] == "memory.events"
    ]
    assert [(one.action, one.resource) for one in records] == [
        ("memories.remember", memory.id),
        ("documents.ingest", made.id),
        ("memories.forget", memory.id),
        ("documents.delete", made.id),
    ]
    assert told == ["remembered", "ingested", "forgotten", "deleted"]
    assert all(one.actor == f"usr_{'0' * 32}" and one.request_id for one in records)
    assert all("Something" not in str(one.details) for one in records)
