"""`soma up|down|status|doctor|logs|restart`: the stack on this machine."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from typing import Annotated

import typer

from mesh.stack import bring_up as bringing
from mesh.stack import client
from mesh.stack.settings import StackSettings

app = typer.Typer(no_args_is_help=True)


class Output(StrEnum):
    """How `soma status` prints."""

    TABLE = "table"
    JSON = "json"
    ENV = "env"


def _settings() -> StackSettings:
    return StackSettings.from_environment(os.environ)


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())


@app.command()
def up(
    only: Annotated[str | None, typer.Option(help="Start these and what they need, comma-separated.")] = None,
) -> None:
    """Start the stack, or bring back what is not running."""
    settings = _settings()
    bringing.bring_up(settings, _names(only) or bringing.EVERYTHING, lambda m: print(m))


@app.command()
def down(
    processes: Annotated[list[str] | None, typer.Argument(help="Only these.")] = None,
) -> None:
    """Stop the stack; data stays."""
    bringing.bring_down(_settings().home, tuple(processes or ()), lambda m: print(m))


@app.command()
def status(
    output: Annotated[Output, typer.Option("-o", "--output")] = Output.TABLE,
) -> None:
    """Show every process."""
    answer = client.tell(_settings().home, {"op": "status"})
    print(json.dumps(answer["processes"], indent=1))
