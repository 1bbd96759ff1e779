"""Runs a process with other settings for a while: its override file, and a restart in order on each side."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from mesh.stack import overrides
from mesh.stack.home import write_atomically
from tests.support.stack import Stack


@contextlib.asynccontextmanager
async def changed(stack: Stack, process: str, variables: Mapping[str, str]) -> AsyncIterator[None]:
    """Add variables to a process's environment until the block ends."""
    folder = stack.settings.home.overrides
    folder.mkdir(exist_ok=True, mode=0o700)
    file = overrides.path_of(folder, process)
    write_atomically(file, "".join(f"{name}={value}\n" for name, value in variables.items()))
    try:
        await stack.restart(process)
        yield
    finally:
        file.unlink(missing_ok=True)
        await stack.restart(process)
