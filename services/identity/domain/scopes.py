"""Who may be given which scopes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.identity.errors import scopes_unknown, scopes_withheld

OPERATOR_SCOPES: Final = frozenset({"tenants.create"})
"""Held by the first tenant's owner, and by whom that owner gives them to."""


class ScopeCatalogue:
    """Every scope that a method of the platform asks for."""

    def __init__(self, scopes: Iterable[str]) -> None:
        """Take all scopes of the contracts."""
        self.all = frozenset(scopes)

    def of_owner(self, *, operator: bool) -> frozenset[str]:
        """Return what the owner of a tenant gets."""
        return self.all if operator else self.all - OPERATOR_SCOPES

    def grant(
        self, wanted: Iterable[str], *, held: frozenset[str], default: frozenset[str]
    ) -> frozenset[str]:
        """Return the scopes to give: what is wanted, else `default`.

        Raises:
            InvalidArgument: a scope that no method asks for.
            PermissionDenied: more than `held`.
        """
        scopes = frozenset(wanted)
        if unknown := scopes - self.all:
            raise scopes_unknown(unknown)
        scopes = scopes or default
        if withheld := scopes - held:
            raise scopes_withheld(withheld)
        return scopes
