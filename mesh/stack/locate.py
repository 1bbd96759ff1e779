"""Where a server's program comes from: one on PATH of a fitting version, else the pinned package."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mesh.stack.errors import Code, StackError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A program that the machine itself may bring.

    Attributes:
        names: what it may be called on PATH, in order of preference.
        pattern: finds major and minor version in the output of `--version`.
        lowest: the first version that fits.
        below: the first version that does not fit any more.
    """

    names: tuple[str, ...]
    pattern: str
    lowest: tuple[int, int]
    below: tuple[int, int]

    def fits(self, output: str) -> bool:
        """Tell whether the printed version is within the bounds."""
        found = re.search(self.pattern, output)
        return found is not None and self.lowest <= (int(found[1]), int(found[2])) < self.below


POSTGRES = Wanted(names=("postgres",), pattern=r"PostgreSQL\) (\d+)\.(\d+)", lowest=(18, 0), below=(19, 0))
REDIS = Wanted(
    names=("redis-server", "valkey-server"), pattern=r"v=(\d+)\.(\d+)", lowest=(7, 2), below=(10, 0)
)
TEMPORAL = Wanted(names=("temporal",), pattern=r"version (\d+)\.(\d+)", lowest=(1, 9), below=(2, 0))
ENVOY = Wanted(names=("envoy",), pattern=r"/(\d+)\.(\d+)\.\d+/", lowest=(1, 40), below=(1, 41))


def program(wanted: Wanted, packaged: Path) -> Path:
    """Give the program to start.

    Raises:
        StackError: neither PATH nor the package has it.
    """
    for name in wanted.names:
        found = shutil.which(name)
        if found and Path(found).resolve() != packaged.resolve() and wanted.fits(_version(found)):
            return Path(found).resolve()
    if not packaged.exists():
        raise StackError(
            f"{wanted.names[0]} is not installed: {packaged} is absent",
            fix="run `make up`, which installs it",
            code=Code.NOT_INSTALLED,
        )
    return packaged


def _version(path: str) -> str:
    asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return asked.stdout
