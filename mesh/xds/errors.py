"""What can go wrong in the control plane.

XdsError
└── UnreadableStateError   what a former run left behind, or the launcher wrote, cannot be read
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class XdsError(Exception):
    """Root of the tree; never raised itself."""


class UnreadableStateError(XdsError):
    """A file of the control plane cannot be read."""

    def __init__(self, path: Path, cause: object) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = path
