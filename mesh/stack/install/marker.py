"""Digest markers: a file beside an installed thing says from which inputs it was made.

Standard library only (see `mesh.stack.errors`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh.stack.home import write_atomically


def digest(*parts: str | bytes) -> str:
    """Give one digest over some inputs."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(8, "big") + content)
    return total.hexdigest()


def marker(thing: Path) -> Path:
    """Give the marker's path of an installed folder."""
    return thing.with_name(f"{thing.name}.digest")


def marks(thing: Path) -> frozenset[str]:
    """Give the digests that an installed folder satisfies; none where it is not whole."""
    path = marker(thing)
    if not thing.is_dir() or not path.exists():
        return frozenset()
    return frozenset(path.read_text(encoding="ascii").split())


def mark(thing: Path, *digests: str) -> None:
    """Note what an installed folder satisfies, once it is whole."""
    write_atomically(marker(thing), "\n".join(digests) + "\n", mode=0o644)


def unmark(thing: Path) -> None:
    """Note that a folder is about to change and may stay half done."""
    marker(thing).unlink(missing_ok=True)


@contextmanager
def lock(lib: Path, name: str) -> Iterator[None]:
    """Hold the right to install one thing; others wait."""
    lib.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lib / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
