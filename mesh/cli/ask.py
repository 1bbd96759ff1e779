"""`soma ask`: one question, one streamed answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.client import SECONDS, Edge, edge
from mesh.cli.failures import Exit, Failure
from mesh.cli.output import Output, OutputOption, clean, say, show
from mesh.cli.turns import Following, end_of, new_request_id, source_of

if TYPE_CHECKING:
    from soma.orchestrator.v1 import resources_pb2 as pb
    from soma.orchestrator.v1 import service_pb2

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to ask; `-` reads it from standard input.")],
    *,
    persona: Annotated[str, typer.Option(help="Who answers in a new session; `guide` by default.")] = "",
    session: Annotated[str, typer.Option(help="Go on in this session.")] = "",
    recall: Annotated[
        bool | None, typer.Option(help="Look up memories and documents first; as the persona by default.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=0, help="Most tokens of the answer; 0: the persona's.")] = 0,
    min_tokens: Annotated[int, typer.Option(min=0, help="The answer does not end by itself before.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask one question and stream the answer to standard output.

    Sources that the answer cites, and all other words, go to standard error. With `-o json` or `-o yaml` the
    whole turn is printed when it ended. Ctrl-C cancels the turn.
    """
    text = sys.stdin.read() if question == "-" else question
    if persona and session:
        raise typer.BadParameter("a session has its persona; give one of --persona and --session")
    with edge() as open_edge:
        from soma.orchestrator.v1 import service_pb2

        options = service_pb2.GenerationOptions(max_tokens=max_tokens, min_tokens=min_tokens)
        if recall is not None:
            options.recall = recall
        session_id = session or new_session(open_edge, persona)
        following = follow(open_edge, session_id, text, options)
        stream(following, quiet=output is not Output.TABLE)
        if output is not Output.TABLE:
            show(_turn(open_edge, following), output)


def new_session(open_edge: Edge, persona: str) -> str:
    """Create a session and give its id."""
    from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

    request = service_pb2.CreateSessionRequest(persona=persona, request_id=new_request_id())
    return open_edge.stub(service_pb2_grpc.SessionsStub).CreateSession(request, timeout=SECONDS).id


def follow(
    open_edge: Edge, session_id: str, text: str, options: service_pb2.GenerationOptions | None = None
) -> Following:
    """Prepare a turn; it begins when its events are asked for."""
    from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

    request = service_pb2.StreamTurnRequest(
        session_id=session_id,
        input=service_pb2.TurnInput(text=text),
        request_id=new_request_id(),
        options=options,
    )
    return Following(
        turns=open_edge.stub(service_pb2_grpc.TurnsStub),
        request=request,
        told_of_break=lambda: say("(the stream broke; taking it up again)"),
    )


def stream(following: Following, *, quiet: bool = False) -> None:
    """Print a turn as it comes; Ctrl-C cancels it.

    Raises:
        Failure: it was refused, failed, or waits for somebody's approval.
        KeyboardInterrupt: it was cancelled.
    """
    try:
        for event in following.events():
            _print_event(event, quiet=quiet)
    except KeyboardInterrupt:
        following.cancel()
        if not quiet:
            print(flush=True)
        say("cancelled")
        raise
    if not quiet:
        for citation in following.cited():
            say(source_of(citation))


def _print_event(event: pb.TurnEvent, *, quiet: bool) -> None:
    match event.WhichOneof("event"):
        case "accepted" if event.accepted.queue_position:
            say(f"({event.accepted.queue_position} turns wait before this one)")
        case "delta" if not quiet:
            sys.stdout.write(clean(event.delta.text))
            sys.stdout.flush()
        case "approval":
            raise Failure(
                event.approval.question or "somebody has to approve",
                Exit.APPROVAL_NEEDED,
                "APPROVAL_NEEDED",
                f"decide review {event.approval.review_id}",
            )
        case "completed" | "refused" | "failed":
            if not quiet:
                print(flush=True)
            failure = end_of(event)
            if failure is not None:
                raise failure


def _turn(open_edge: Edge, following: Following) -> pb.Turn:
    from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

    request = service_pb2.GetTurnRequest(session_id=following.request.session_id, turn_id=following.turn_id)
    return open_edge.stub(service_pb2_grpc.TurnsStub).GetTurn(request, timeout=SECONDS)
