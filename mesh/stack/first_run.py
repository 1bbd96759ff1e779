"""`python -m mesh.stack.first_run`: the first tenant, its documents, and one real governed turn.

A client like any other: it speaks gRPC over TLS to the edge with the first user's API key. Only that
user is made from within, by identity's own bootstrap command. Each part is idempotent; the turn is
streamed every time, because it is the proof that the whole road works.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from soma.memory.v1 import service_pb2 as memory
from soma.memory.v1 import service_pb2_grpc as memory_grpc
from soma.orchestrator.v1 import resources_pb2 as turns
from soma.orchestrator.v1 import service_pb2 as orchestrator
from soma.orchestrator.v1 import service_pb2_grpc as orchestrator_grpc

from mesh.stack.client_file import ClientFile
from mesh.stack.errors import Code, StackError
from mesh.stack.home import CHECKOUT, Home, write_atomically
from mesh.stack.install.marker import digest
from mesh.stack.settings import StackSettings

QUESTION = "What happens to a turn when a worker dies?"
PERSONA = "guide"
SIDE_BY_SIDE = 4
CALL_SECONDS, TURN_SECONDS, EDGE_SECONDS = 30.0, 60.0, 20.0
PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class Edge:
    """A channel to the edge and the metadata of every call."""

    channel: grpc.Channel
    metadata: tuple[tuple[str, str], ...]


def first_run(settings: StackSettings) -> None:
    """Make what is missing and stream one turn to stdout.

    Raises:
        StackError: a part of the road does not work.
    """
    found = client_of(settings) or _bootstrap(settings)
    with _edge(found) as edge:
        try:
            _wait_for(edge)
            _ingest(edge, settings.home)
            _stream(edge)
        except grpc.RpcError as error:
            raise _failed(error) from error


def client_of(settings: StackSettings) -> ClientFile | None:
    """Give the first user with the addresses of now, which another port base or home changes."""
    home = settings.home
    found = ClientFile.read(home.client)
    if found is None:
        return None
    here = ClientFile.of(home, settings.ports, api_key=found.api_key, tenant=found.tenant)
    if here != found:
        here.write(home.client)
    return here


def _bootstrap(settings: StackSettings) -> ClientFile:
    made = subprocess.run(
        [sys.executable, "-m", "services.identity.bootstrap"],
        cwd=settings.home.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise StackError(
            f"the first tenant cannot be made: {made.stderr.strip()[-300:]}",
            fix="run `soma doctor`, then `soma up` again",
            code=Code.FIRST_RUN_FAILED,
        )
    answer = json.loads(made.stdout.strip().splitlines()[-1])
    found = ClientFile.of(settings.home, settings.ports, api_key=answer["api_key"], tenant=answer["tenant"])
    found.write(settings.home.client)
    return found


@contextmanager
def _edge(client: ClientFile) -> Iterator[Edge]:
    credentials = grpc.ssl_channel_credentials(Path(client.ca_file).read_bytes())
    with grpc.secure_channel(client.grpc_target, credentials) as channel:
        yield Edge(channel, (("authorization", f"Bearer {client.api_key}"),))


def _wait_for(edge: Edge) -> None:
    """Wait until the edge lets a call through: it learns keys and policy some moments after start."""
    stub = orchestrator_grpc.SessionsStub(edge.channel)
    until = time.monotonic() + EDGE_SECONDS
    early = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    while True:
        try:
            stub.ListSessions(
                orchestrator.ListSessionsRequest(page_size=1), metadata=edge.metadata, timeout=5
            )
        except grpc.RpcError as error:
            if error.code() not in early or time.monotonic() > until:
                raise
            time.sleep(PAUSE)
        else:
            return


def _ingest(edge: Edge, home: Home) -> None:
    documents = [(path, path.read_bytes()) for path in own_documents(CHECKOUT)]
    wanted = digest(*(part for path, text in documents for part in (str(path), text)))
    done = home.root / "data" / "documents.done"
    if done.exists() and done.read_text(encoding="ascii").strip() == wanted:
        return
    stub = memory_grpc.DocumentsStub(edge.channel)

    def one(document: tuple[Path, bytes]) -> None:
        path, text = document
        source = str(path.relative_to(CHECKOUT))
        stub.IngestDocument(
            memory.IngestDocumentRequest(
                source=source,
                media_type="text/markdown",
                content=text,
                request_id=hashlib.sha256(source.encode() + b"\0" + text).hexdigest(),
            ),
            metadata=edge.metadata,
            timeout=CALL_SECONDS,
        )

    print(f"reading {len(documents)} documents of the project", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as workers:
        list(workers.map(one, documents))
    write_atomically(done, wanted + "\n")


def own_documents(root: Path) -> list[Path]:
    """Give the project's own documents, which the first tenant's guide answers from."""
    return [path for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))) if path.exists()]


def _stream(edge: Edge) -> None:
    session = orchestrator_grpc.SessionsStub(edge.channel).CreateSession(
        orchestrator.CreateSessionRequest(persona=PERSONA, request_id=str(uuid.uuid4())),
        metadata=edge.metadata,
        timeout=CALL_SECONDS,
    )
    events = orchestrator_grpc.TurnsStub(edge.channel).StreamTurn(
        orchestrator.StreamTurnRequest(
            session_id=session.id,
            input=orchestrator.TurnInput(text=QUESTION),
            request_id=str(uuid.uuid4()),
        ),
        metadata=edge.metadata,
        timeout=TURN_SECONDS,
    )
    print(f"\nyou    {QUESTION}\n{PERSONA}  ", end="", flush=True)
    show(events)


def show(events: Iterable[turns.TurnEvent]) -> None:
    """Print a turn as it comes, and its sources.

    Raises:
        StackError: it did not end well.
    """
    citations: list[turns.Citation] = []
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "recalled":
            citations = list(event.recalled.citations)
        elif kind == "delta":
            print(event.delta.text, end="", flush=True)
        elif kind == "completed":
            print("\n")
            for one in citations:
                print(f"  [{one.number}] {one.title} ({one.source})")
            return
        elif kind in ("refused", "failed"):
            raise _ended_badly(getattr(event, kind).message)
    raise _ended_badly("the stream broke off")


def _ended_badly(why: str) -> StackError:
    return StackError(
        f"the first turn did not complete: {why}",
        fix="run `soma doctor`; `soma logs orchestrator` and `soma logs worker-slm` tell more",
        code=Code.FIRST_RUN_FAILED,
    )


def _failed(error: grpc.RpcError) -> StackError:
    return StackError(
        f"a call through the edge failed: {error.code().name}: {error.details()}",
        fix="run `soma doctor`; `soma logs envoy` and the service's log tell more",
        code=Code.FIRST_RUN_FAILED,
    )


def main() -> int:
    """Run; a failure is one line on stderr and exit code 1."""
    try:
        first_run(StackSettings.from_environment(os.environ))
    except StackError as error:
        print(f"soma: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
