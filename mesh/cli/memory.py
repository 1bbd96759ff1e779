"""`soma memory`: what agents remember, and the documents they answer from."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.client import SECONDS, edge
from mesh.cli.failures import Exit, Failure
from mesh.cli.output import Cell, LimitOption, Output, OutputOption, first, line, say, show, show_rows, when
from mesh.cli.turns import new_request_id

if TYPE_CHECKING:
    from soma.memory.v1 import resources_pb2 as pb
    from soma.memory.v1 import service_pb2_grpc

app = typer.Typer(no_args_is_help=True, help="Remember and recall; ingest documents and retrieve passages.")
LabelOption = Annotated[
    list[str] | None, typer.Option("--label", "-l", help="A label, key=value; repeatable.")
]
SessionOption = Annotated[str, typer.Option(help="The session it was said in.")]
_INGEST_SECONDS = 300.0
_LARGEST = 16 * 1024 * 1024
_MEDIA_TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
}
_MEMORIES: tuple[Cell, ...] = (
    ("id", lambda row: row.id),
    ("created", lambda row: when(row.create_time)),
    ("text", lambda row: row.text),
)
_RECALLED: tuple[Cell, ...] = (
    ("score", lambda row: f"{row.score:.3f}"),
    ("id", lambda row: row.memory.id),
    ("text", lambda row: row.memory.text),
)
_DOCUMENTS: tuple[Cell, ...] = (
    ("id", lambda row: row.id),
    ("title", lambda row: row.title),
    ("source", lambda row: row.source),
    ("passages", lambda row: row.passage_count),
    ("created", lambda row: when(row.create_time)),
)
_PASSAGES: tuple[Cell, ...] = (
    ("score", lambda row: f"{row.score:.3f}"),
    ("title", lambda row: row.title),
    ("place", lambda row: f"page {row.page}" if row.page else f"{row.start}-{row.end}"),
    ("text", lambda row: row.text),
)


@app.command()
def remember(
    text: Annotated[str, typer.Argument(help="What to remember.")],
    session: SessionOption = "",
    label: LabelOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remember a text."""
    labels = labels_of(label)
    with edge() as open_edge:
        from soma.memory.v1 import service_pb2, service_pb2_grpc

        request = service_pb2.RememberRequest(
            text=text, session_id=session, labels=labels, request_id=new_request_id()
        )
        stub = open_edge.stub(service_pb2_grpc.MemoriesStub)
        show(stub.Remember(request, timeout=SECONDS), output, _MEMORIES)


@app.command()
def recall(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    session: Annotated[str, typer.Option(help="Only memories of this session.")] = "",
    label: LabelOption = None,
    limit: LimitOption = 5,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find the memories nearest to a query."""
    labels = labels_of(label)
    with edge() as open_edge:
        from soma.memory.v1 import service_pb2, service_pb2_grpc

        request = service_pb2.RecallRequest(query=query, limit=limit, labels=labels, session_id=session)
        stub = open_edge.stub(service_pb2_grpc.MemoriesStub)
        show_rows(stub.Recall(request, timeout=SECONDS).memories, output, _RECALLED)


@app.command()
def forget(
    things: Annotated[list[str], typer.Argument(help="Ids of memories (mem_...) or documents (doc_...).")],
) -> None:
    """Forget memories; delete documents with their passages."""
    with edge() as open_edge:
        from soma.memory.v1 import service_pb2, service_pb2_grpc

        memories = open_edge.stub(service_pb2_grpc.MemoriesStub)
        documents = open_edge.stub(service_pb2_grpc.DocumentsStub)
        for thing in things:
            if thing.startswith("doc_"):
                documents.DeleteDocument(
                    service_pb2.DeleteDocumentRequest(document_id=thing), timeout=SECONDS
                )
            else:
                memories.Forget(service_pb2.ForgetRequest(memory_id=thing), timeout=SECONDS)
            say(f"{thing} is forgotten")


@app.command("list")
def list_memories(limit: LimitOption = 50, output: OutputOption = Output.TABLE) -> None:
    """List memories, newest first."""
    with edge() as open_edge:
        from soma.memory.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.MemoriesStub)
        rows = open_edge.pages(stub.ListMemories, service_pb2.ListMemoriesRequest(), "memories")
        show_rows(first(limit, rows), output, _MEMORIES)


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(help="Text, Markdown, HTML or PDF files.")],
    title: Annotated[str, typer.Option(help="Title of a single file; found in it by default.")] = "",
    media_type: Annotated[str, typer.Option(help="Media type; told from the file's name by default.")] = "",
    label: LabelOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ingest documents: cut them into passages that answers can cite.

    A file that was ingested before, unchanged and under the same name, is not ingested twice.
    """
    if title and len(files) > 1:
        raise typer.BadParameter("--title names a single file")
    labels = labels_of(label)
    with edge() as open_edge:
        from soma.memory.v1 import service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.DocumentsStub)
        made = []
        for path in files:
            made.append(_ingest(stub, path, title, media_type or media_type_of(path), labels))
            say(f"{path}: {made[-1].passage_count} passages")
        show_rows(made, output, _DOCUMENTS)


@app.command("documents")
def list_documents(limit: LimitOption = 50, output: OutputOption = Output.TABLE) -> None:
    """List documents, newest first."""
    with edge() as open_edge:
        from soma.memory.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.DocumentsStub)
        rows = open_edge.pages(stub.ListDocuments, service_pb2.ListDocumentsRequest(), "documents")
        show_rows(first(limit, rows), output, _DOCUMENTS)


@app.command()
def retrieve(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    document: Annotated[list[str] | None, typer.Option(help="Only this document; repeatable.")] = None,
    label: LabelOption = None,
    limit: LimitOption = 5,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find the passages nearest to a query, by meaning and by words."""
    labels = labels_of(label)
    with edge() as open_edge:
        from soma.memory.v1 import service_pb2, service_pb2_grpc

        request = service_pb2.RetrieveRequest(
            query=query, limit=limit, labels=labels, document_ids=document or ()
        )
        stub = open_edge.stub(service_pb2_grpc.DocumentsStub)
        show_rows(stub.Retrieve(request, timeout=SECONDS).passages, output, _PASSAGES)


def labels_of(given: list[str] | None) -> dict[str, str]:
    """Read labels as they are typed.

    Raises:
        typer.BadParameter: one is not key=value.
    """
    labels = {}
    for each in given or ():
        key, equals, value = each.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{line(each)!r} is not key=value")
        labels[key] = value
    return labels


def media_type_of(path: Path) -> str:
    """Tell the media type from a file's name; what is not known is plain text."""
    known = _MEDIA_TYPES.get(path.suffix.lower())
    guessed = known or mimetypes.guess_type(path.name)[0] or "text/plain"
    return "text/plain" if guessed.startswith("text/") and known is None else guessed


def _ingest(
    stub: service_pb2_grpc.DocumentsStub, path: Path, title: str, media_type: str, labels: dict[str, str]
) -> pb.Document:
    from soma.memory.v1 import service_pb2

    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", Exit.USAGE) from error
    if len(content) > _LARGEST:
        raise Failure(f"{path} is larger than {_LARGEST // 1024 // 1024} MiB", Exit.USAGE, "TOO_LARGE")
    request = service_pb2.IngestDocumentRequest(
        title=title,
        source=path.name,
        media_type=media_type,
        content=content,
        labels=labels,
        request_id=new_request_id(),
    )
    made: pb.Document = stub.IngestDocument(request, timeout=_INGEST_SECONDS)
    return made
