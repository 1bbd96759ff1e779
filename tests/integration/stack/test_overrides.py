"""Drop-in environment files on a real stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.stack import overrides
from mesh.stack.home import write_atomically
from mesh.stack.settings import StackSettings
from tests.support.stack import CommandFailedError, OwnStacks, processes, soma


async def environment_of(settings: StackSettings, name: str) -> set[str]:
    (row,) = [one for one in await processes(settings) if one.name == name]
    content = Path(f"/proc/{row.pid}/environ").read_bytes()  # noqa: ASYNC240 - a file of the kernel's
    return set(content.decode().split("\0"))


async def test_a_process_takes_its_overrides_at_each_start(own: OwnStacks) -> None:
    settings = own.settings()
    await soma(settings, "up", "--only", "vectors")
    assert "SOMA_PROBE=1" not in await environment_of(settings, "vectors")
    file = overrides.path_of(settings.home.overrides, "vectors")

    write_atomically(file, "SOMA_PROBE=1\nLANG=C\n")
    await soma(settings, "restart", "vectors")
    assert {"SOMA_PROBE=1", "LANG=C"} <= await environment_of(settings, "vectors")
    assert "vectors.env changes SOMA_PROBE, LANG of its environment" in await soma(settings, "doctor")

    file.chmod(0o644)
    with pytest.raises(CommandFailedError, match="BAD_SETTING"):
        await soma(settings, "restart", "vectors")

    file.unlink()
    await soma(settings, "restart", "vectors")
    assert not {"SOMA_PROBE=1", "LANG=C"} & await environment_of(settings, "vectors")
