"""Secrets of one stack: one file each, mode 0600, made once and never shown."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mesh.stack.errors import Code, StackError

BYTES = 24


def secret(folder: Path, name: str) -> str:
    """Give the secret with that name; make it where there is none.

    Two processes that ask at the same time get the same one: the file appears whole, by a link
    that fails where the name exists.

    Raises:
        StackError: others may read the file.
    """
    path = folder / name
    if not path.exists():
        _create(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise StackError(
            f"secret {path} may be read by others (mode {mode:o})",
            fix=f"chmod 600 {path}",
            code=Code.BAD_SETTING,
        )
    return path.read_text(encoding="ascii").strip()


def _create(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(BYTES) + "\n")
        path.hardlink_to(draft)
    except FileExistsError:
        return
    finally:
        draft.unlink()
