"""`soma chat`: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.ask import follow, new_session, stream
from mesh.cli.client import Edge, edge
from mesh.cli.failures import Failure
from mesh.cli.output import line, say

if TYPE_CHECKING:
    from soma.orchestrator.v1 import service_pb2

app = typer.Typer(add_completion=False)
_LEAVE = frozenset({"/quit", "/exit", "/q"})
_HELP = "/new begins another session, /session shows this one's id, /quit leaves. Ctrl-C stops an answer."


@app.command()
def chat(
    persona: Annotated[str, typer.Option(help="Who answers; `guide` by default.")] = "",
    session: Annotated[str, typer.Option(help="Go on in this session.")] = "",
    max_tokens: Annotated[int, typer.Option(min=0, help="Most tokens of an answer; 0: the persona's.")] = 0,
    min_tokens: Annotated[int, typer.Option(min=0, help="An answer does not end by itself before.")] = 0,
) -> None:
    """Talk with a persona: answers stream, cited sources follow them.

    Ctrl-C stops the answer that is being given; at the prompt it leaves, as Ctrl-D and /quit do. A stream
    that breaks is taken up where it broke. /help lists what else can be typed.
    """
    if persona and session:
        raise typer.BadParameter("a session has its persona; give one of --persona and --session")
    with edge() as open_edge, contextlib.suppress(KeyboardInterrupt):
        from soma.orchestrator.v1 import service_pb2

        options = service_pb2.GenerationOptions(max_tokens=max_tokens, min_tokens=min_tokens)
        _converse(open_edge, persona, session, options)


def _converse(open_edge: Edge, persona: str, session: str, options: service_pb2.GenerationOptions) -> None:
    session_id = session or new_session(open_edge, persona)
    say(f"session {session_id}; /help for help")
    while (said := _prompt()) is not None:
        if said in _LEAVE:
            break
        if said == "/new":
            session_id = new_session(open_edge, persona)
            say(f"session {session_id}")
        elif said == "/session":
            say(session_id)
        elif said.startswith("/"):
            say(_HELP)
        elif said:
            _turn(open_edge, session_id, said, options)


def _turn(open_edge: Edge, session_id: str, said: str, options: service_pb2.GenerationOptions) -> None:
    try:
        stream(follow(open_edge, session_id, said, options))
    except KeyboardInterrupt:
        return
    except Failure as failure:
        say(f"soma: {line(str(failure))}")


def _prompt() -> str | None:
    """Read a line; None where there is no more, or the person leaves."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives the prompt its history and its editing keys
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        say("")
        return None
