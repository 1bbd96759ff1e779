"""The `soma` command: mounts its groups lazily, so that each command loads only what it needs."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

GROUPS: dict[str, str] = {
    **dict.fromkeys(("up", "down", "status", "doctor", "logs", "restart"), "mesh.cli.stack"),
    **{
        name: f"mesh.cli.{name}"
        for name in (
            *("chat", "ask", "session", "memory", "model", "key", "tenant", "policy", "audit"),
            *("mesh", "api"),
        )
    },
}


class LazyGroup(TyperGroup):
    """Loads a group's module when the group is named. Each module offers `app`, a `typer.Typer`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name what can be loaded."""
        return [name for name, module in GROUPS.items() if find_spec(module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one command."""
        module = GROUPS.get(cmd_name)
        if module is None or find_spec(module) is None:
            return None
        command = typer.main.get_command(importlib.import_module(module).app)
        if module == "mesh.cli.stack":
            command = getattr(command, "commands", {})[cmd_name]
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run, use and inspect SomaAgent.",
)


@app.callback()
def root() -> None:
    """Run, use and inspect SomaAgent."""


def main() -> int:
    """Run one command; give its exit code."""
    from mesh.cli.failures import Exit
    from mesh.stack.errors import NotRunningError, StackError

    try:
        app(prog_name="soma")
    except StackError as error:
        print(f"soma: {error}", file=sys.stderr)
        return Exit.UNAVAILABLE if isinstance(error, NotRunningError) else Exit.FAILED
    except KeyboardInterrupt:
        print("soma: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Exit.OK
