"""What can go wrong with certificates.

PkiError
├── NoAuthorityError        the key that would have to sign is not on this machine
├── UnknownWorkloadError    a name that the mesh does not know
└── UnreadableIdentityError a certificate or key that is absent, damaged or does not belong together
"""

from __future__ import annotations

from pathlib import Path


class PkiError(Exception):
    """Root of the tree; never raised itself."""


class NoAuthorityError(PkiError):
    """The key that would have to sign is not on this machine."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"cannot sign: {path} is not here (is the authority kept offline?)")
        self.path = path


class UnknownWorkloadError(PkiError):
    """A name that the mesh does not know."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown workload {name!r}")
        self.name = name


class UnreadableIdentityError(PkiError):
    """A certificate or key is absent, damaged, or one does not belong to the other."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = path
