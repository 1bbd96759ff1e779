"""Encoded resources of the last run, so that a control plane that restarts is back at once.

A file's name is the hash of what it was made from, its folder that of the library that made it; so
what is found is right, and what is not wanted any more is removed. Secrets are never kept.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING

from mesh.runtime.logging import get_logger
from mesh.xds.kinds import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_log = get_logger(__name__)


class EncodedStore:
    """Files of encoded resources below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f"encoded-{version('envoy-data-plane')}"

    def get(self, kind: str, digest: str) -> bytes | None:
        """Give what a former run made of this content."""
        try:
            return self._path(kind, digest).read_bytes()
        except OSError:
            return None

    def put(self, kind: str, digest: str, content: bytes) -> None:
        """Keep a resource; a disk that takes nothing costs the next start a second, no more."""
        if kind == SECRET:
            return
        path = self._path(kind, digest)
        temporary = path.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            _log.warning("encoded resource not kept", cause=str(error))

    def retain(self, kind: str, digests: Iterable[str]) -> None:
        """Remove what no resource of this type is any more."""
        wanted = {self._path(kind, digest).name for digest in digests}
        for path in self._folder.glob(f"{_prefix(kind)}-*"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _path(self, kind: str, digest: str) -> Path:
        return self._folder / f"{_prefix(kind)}-{digest}"


def _prefix(kind: str) -> str:
    return kind.rsplit(".", 1)[-1].lower()
