"""`soma up|down|status|doctor|logs|restart`: the stack on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mesh.cli.output import clean
from mesh.stack import bring_up as bringing
from mesh.stack import client
from mesh.stack.catalogue import ROLLED, with_companions
from mesh.stack.client_file import ClientFile
from mesh.stack.errors import NotRunningError
from mesh.stack.settings import StackSettings

app = typer.Typer(no_args_is_help=True)
FOLLOW_PAUSE = 0.3


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
    with_: Annotated[str | None, typer.Option("--with", help="Start these beside the usual ones.")] = None,
    first_run: Annotated[bool, typer.Option(help="Make the first tenant and stream a first answer.")] = True,
) -> None:
    """Start the stack, or bring back what is not running."""
    from mesh.cli.progress import Progress

    settings = _settings()
    names = with_companions((_names(only) or bringing.EVERYTHING) + _names(with_))
    with Progress() as progress:
        bringing.bring_up(settings, names, progress.tell)
    print(f"all ready after {progress.seconds:.1f} s", file=sys.stderr)
    if only or not first_run:
        return
    _first_run(settings)
    bringing.after_first_run(settings)
    _print_next(settings)


def _first_run(settings: StackSettings) -> None:
    command = [str(settings.home.python), "-m", "mesh.stack.first_run"]
    environment = os.environ | bringing.first_run_environment(settings)
    if code := subprocess.run(command, env=environment, check=False).returncode:
        raise typer.Exit(code)


def _print_next(settings: StackSettings) -> None:
    found = ClientFile.read(settings.home.client)
    if found is None:
        return
    soma = settings.home.root / "bin" / "soma"
    shown = os.path.relpath(soma) if soma.is_relative_to(Path.cwd()) else str(soma)
    print(
        f"\nedge   {found.edge_url}   (TLS: {found.edge_tls_url}, gRPC: {found.grpc_target})"
        f'\ntry    eval "$({shown} status -o env)"'
        f'\n       {shown} ask "What happens to a turn when a worker dies?"'
        f"\n       {shown} chat"
        f"\n       {shown} status",
        file=sys.stderr,
    )


@app.command()
def down(
    processes: Annotated[list[str] | None, typer.Argument(help="Only these.")] = None,
    quiet_if_stopped: Annotated[bool, typer.Option(help="Succeed where nothing runs.")] = False,
) -> None:
    """Stop the stack; data stays."""
    from mesh.cli.progress import Progress

    try:
        with Progress() as progress:
            bringing.bring_down(_settings().home, tuple(processes or ()), progress.tell)
    except NotRunningError:
        if not quiet_if_stopped:
            raise
    else:
        print(f"stopped after {progress.seconds:.1f} s", file=sys.stderr)


@app.command()
def restart(
    processes: Annotated[
        list[str] | None, typer.Argument(help="Which; with --rolling all without any.")
    ] = None,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="Start a successor first; callers and streams go on.")
    ] = False,
) -> None:
    """Stop processes and start them again, or replace them one by one under load."""
    home = _settings().home
    if not processes and not rolling:
        raise typer.BadParameter("name the processes, or say --rolling for all that can be replaced")
    for process in processes or ROLLED:
        if rolling and process != "xds":
            client.tell(home, {"op": "roll", "process": process})
        else:
            client.tell(home, {"op": "restart", "process": process})
        print(f"{process} is ready", file=sys.stderr)


@app.command()
def status(
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TABLE,
) -> None:
    """Show every process; `-o env` prints the addresses as shell lines."""
    settings = _settings()
    if output is Output.ENV:
        found = ClientFile.read(settings.home.client)
        if found is None:
            raise NotRunningError(settings.home.root)
        print("\n".join(found.exports()))
        return
    rows: Any = client.tell(settings.home, {"op": "status"})["processes"]
    if output is Output.JSON:
        print(json.dumps(rows, indent=1))
    else:
        _print_table(rows)


def _print_table(rows: list[dict[str, Any]]) -> None:
    print(f"{'NAME':20} {'KIND':14} {'STATE':9} {'PID':>7} {'ADDRESS':17} {'RESTARTS':>8} {'MEMORY':>9}")
    for row in rows:
        print(
            f"{row['name']:20} {row['kind']:14} {row['state']:9} {row['pid'] or '-':>7}"
            f" {row['address']:17} {row['restarts']:>8} {row['rss_bytes'] / 1e6:>6.0f} MB"
        )
    total = sum(row["rss_bytes"] for row in rows) / 1e6
    ready = sum(row["state"] == "ready" for row in rows)
    print(f"{ready} of {len(rows)} ready, {total:.0f} MB")


@app.command()
def doctor(
    output: Annotated[Output, typer.Option("-o", "--output", help="table or json.")] = Output.TABLE,
) -> None:
    """Check the machine and the stack: one line a finding, with cause, fix and code."""
    from mesh.stack.doctor import examine

    findings = examine(_settings())
    if output is Output.JSON:
        print(json.dumps([one.as_dict() for one in findings], indent=1))
    else:
        for one in findings:
            print(one)
        if not findings:
            print("nothing found", file=sys.stderr)
    if any(one.serious for one in findings):
        raise typer.Exit(1)


@app.command()
def logs(
    process: Annotated[str | None, typer.Argument(help="Whose; all where none is named.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of each to begin with.")] = 50,
) -> None:
    """Print the logs."""
    folder = _settings().home.log
    paths = sorted(folder.glob("*.log")) if process is None else [folder / f"{process}.log"]
    missing = [path for path in paths if not path.exists()]
    if missing:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log")))
        raise typer.BadParameter(f"there is no log of {process}; there are: {known}")
    offsets = {path: _print_tail(path, lines, named=len(paths) > 1) for path in paths}
    while follow:
        time.sleep(FOLLOW_PAUSE)
        for path in paths:
            offsets[path] = _print_from(path, offsets[path], named=len(paths) > 1)


def _print_tail(path: Path, lines: int, *, named: bool) -> int:
    with path.open("rb") as file:
        for line in deque(file, maxlen=lines):
            _print_line(path, line, named=named)
        return file.tell()


def _print_from(path: Path, offset: int, *, named: bool) -> int:
    if not path.exists() or path.stat().st_size < offset:
        return 0
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            _print_line(path, line, named=named)
        return file.tell()


def _print_line(path: Path, line: bytes, *, named: bool) -> None:
    # What a client sent may stand in a log of a server that is not ours: shown, never obeyed.
    text = clean(line.decode("utf-8", errors="replace").rstrip("\n"))
    print(f"{path.stem:20} {text}" if named else text, flush=True)
