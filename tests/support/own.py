"""The fixture `own`: stacks that one test has for itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stack import OwnStacks


@pytest.fixture
async def own() -> AsyncIterator[OwnStacks]:
    """Stacks that one test has for itself; stopped and removed at its end.

    They lie in a folder that any user may walk through, since Postgres does not run as root.
    """
    folder = Path(tempfile.mkdtemp(prefix="soma-"))
    os.chmod(folder, 0o711)  # noqa: PTH101, S103 - to be walked through, not to be listed
    stacks = OwnStacks(folder)
    try:
        yield stacks
    finally:
        await stacks.stop()
        shutil.rmtree(folder)
