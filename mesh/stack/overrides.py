"""Drop-in environment files: `$SOMA_HOME/overrides/<process>.env`, what an operator adds to one process.

They are read at each start of the process, and merged last. `soma doctor` shows them, so that nobody
forgets them. The form is strict, so that a slip is told and not guessed at: `KEY=VALUE` a line, the value
as it stands (no quotes, no expansion); empty lines and lines that begin with `#` are left out. Values may
be secrets: the file is the owner's alone (0600), and no message shows a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mesh.stack.errors import Code, StackError
from mesh.stack.servers.server import Launch

SUFFIX = ".env"
LARGEST = 64 * 1024
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ADVERTISE = "SOMA_ADVERTISE"
"""Where the mesh is told to reach a process, where that is not where it listens (a proxy before it)."""


def path_of(folder: Path, process: str) -> Path:
    """Give the place of a process's file."""
    return folder / f"{process}{SUFFIX}"


def read(folder: Path, process: str) -> dict[str, str]:
    """Read a process's overrides; none where it has no file.

    Raises:
        StackError: the file is not the owner's alone, or a line has no meaning.
    """
    path = path_of(folder, process)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}", fix="make it a plain file") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise _bad(path, "is open to others", fix=f"chown it to yourself and chmod 600 {path}")
        content = file.read(LARGEST + 1)
    return parse(content, path)


def parse(content: bytes, path: Path) -> dict[str, str]:
    """Read the content of a file.

    Raises:
        StackError: a line has no meaning; its number is told, never its content.
    """
    if len(content) > LARGEST:
        raise _bad(path, f"is larger than {LARGEST} bytes", fix="name files in it instead of content")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(path, "is not UTF-8", fix="write it anew") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not NAME.fullmatch(name) or not value.isprintable():
            raise _bad(path, f"line {number} is not KEY=VALUE", fix="write one plain KEY=VALUE a line")
        if name in found:
            raise _bad(path, f"line {number} gives {name} a second time", fix="leave one of them")
        found[name] = value
    return found


def applied(launch: Launch, folder: Path, process: str) -> Launch:
    """Give a launch with the process's overrides in its environment.

    Raises:
        StackError: the file is not as it must be.
    """
    more = read(folder, process)
    return replace(launch, environment={**launch.environment, **more}) if more else launch


def all_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Give every file with the name of its process, or what stands in that name's place."""
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        yield path.name.removesuffix(SUFFIX), path


def properties(overrides: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Give the settings of a server that takes none from its environment: `KAFKA_LOG_DIRS` is `log.dirs`."""
    return {
        name.removeprefix(prefix).lower().replace("_", "."): value
        for name, value in overrides.items()
        if name.startswith(prefix)
    }


def _bad(path: Path, what: str, *, fix: str) -> StackError:
    return StackError(f"{path} {what}", fix=fix, code=Code.BAD_SETTING)
