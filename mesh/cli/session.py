"""`soma session`: conversations and their turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.client import SECONDS, edge
from mesh.cli.output import Cell, LimitOption, Output, OutputOption, first, say, show, show_rows, when

if TYPE_CHECKING:
    from soma.orchestrator.v1 import resources_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="Create, list, show and delete conversations.")
SessionArgument = Annotated[str, typer.Argument(help="The session's id, ses_...")]


def _state(turn: pb.Turn) -> str:
    from soma.orchestrator.v1 import resources_pb2 as pb

    return pb.TurnState.Name(turn.state).removeprefix("TURN_STATE_").lower()


_SESSIONS: tuple[Cell, ...] = (
    ("id", lambda row: row.id),
    ("persona", lambda row: row.persona),
    ("turns", lambda row: row.turn_count),
    ("created", lambda row: when(row.create_time)),
    ("name", lambda row: row.display_name),
)
_TURNS: tuple[Cell, ...] = (
    ("number", lambda row: row.number),
    ("id", lambda row: row.id),
    ("state", _state),
    ("tokens", lambda row: row.usage.total_tokens),
    ("input", lambda row: row.input.text),
    ("answer", lambda row: row.text),
)


@app.command("create")
def create_session(
    persona: Annotated[str, typer.Option(help="Who answers; `guide` without it.")] = "",
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a session."""
    with edge() as open_edge:
        from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.SessionsStub)
        request = service_pb2.CreateSessionRequest(persona=persona, display_name=name)
        show(stub.CreateSession(request, timeout=SECONDS), output, _SESSIONS)


@app.command("list")
def list_sessions(limit: LimitOption = 50, output: OutputOption = Output.TABLE) -> None:
    """List sessions, newest first."""
    with edge() as open_edge:
        from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.SessionsStub)
        rows = open_edge.pages(stub.ListSessions, service_pb2.ListSessionsRequest(), "sessions")
        show_rows(first(limit, rows), output, _SESSIONS)


@app.command("show")
def show_session(session: SessionArgument, output: OutputOption = Output.TABLE) -> None:
    """Show one session."""
    with edge() as open_edge:
        from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.SessionsStub)
        request = service_pb2.GetSessionRequest(session_id=session)
        show(stub.GetSession(request, timeout=SECONDS), output, _SESSIONS)


@app.command("delete")
def delete_session(session: SessionArgument) -> None:
    """Delete a session with its turns."""
    with edge() as open_edge:
        from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.SessionsStub)
        stub.DeleteSession(service_pb2.DeleteSessionRequest(session_id=session), timeout=SECONDS)
        say(f"{session} is deleted")


@app.command("turns")
def list_turns(
    session: SessionArgument, limit: LimitOption = 50, output: OutputOption = Output.TABLE
) -> None:
    """List the turns of a session, oldest first."""
    with edge() as open_edge:
        from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.TurnsStub)
        request = service_pb2.ListTurnsRequest(session_id=session)
        show_rows(first(limit, open_edge.pages(stub.ListTurns, request, "turns")), output, _TURNS)
