"""What can go wrong in the control plane.

XdsError
├── UnreadableState   what a former run left behind, or the launcher wrote, cannot be read
└── TooManyRevocations more tokens are revoked than the edge can be told (services know them all)
"""

from __future__ import annotations

from pathlib import Path


class XdsError(Exception):
    """Root of the tree; never raised itself."""


class UnreadableState(XdsError):
    """A file of the control plane cannot be read."""

    def __init__(self, path: Path, cause: object) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = path
