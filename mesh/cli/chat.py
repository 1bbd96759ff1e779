"""`soma chat`: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from mesh.cli.ask import follow, new_session, stream
from mesh.cli.client import Edge, edge
from mesh.cli.failures import Failure
from mesh.cli.output import line, say

app = typer.Typer(add_completion=False)
_LEAVE = frozenset({"/quit", "/exit", "/q"})
_HELP = "/new begins another session, /session shows this one's id, /quit leaves. Ctrl-C stops an answer."


@app.command()
def chat(
    persona: Annotated[str, typer.Option(help="Who answers; `guide` by default.")] = "",
    session: Annotated[str, typer.Option(help="Go on in this session.")] = "",
) -> None:
    """Talk with a persona: answers stream, cited sources follow them.

    Ctrl-C stops the answer that is being given; at the prompt it leaves, as Ctrl-D and /quit do. A stream
    that breaks is taken up where it broke. /help lists what else can be typed.
    """
    if persona and session:
        raise typer.BadParameter("a session has its persona; give one of --persona and --session")
    with edge() as open_edge, contextlib.suppress(KeyboardInterrupt):
        _converse(open_edge, persona, session)


def _converse(open_edge: Edge, persona: str, session: str) -> None:
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
            _turn(open_edge, session_id, said)


def _turn(open_edge: Edge, session_id: str, said: str) -> None:
    try:
        stream(follow(open_edge, session_id, said))
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
