"""Errors of the policy package.

BundleRefusedError
    A bundle that may not be used: unsigned, wrong key, stale, older than the one in force, or not understood.
"""


class BundleRefusedError(Exception):
    """A bundle that may not be used; the one in force stays."""

    def __init__(self, cause: str) -> None:
        """`cause` is a sentence for the log of an operator."""
        super().__init__(f"policy bundle refused: {cause}")
        self.cause = cause
