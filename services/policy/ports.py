"""What the domain needs of the world."""

from collections.abc import Sequence
from typing import Protocol

from mesh.policy import Rule
from services.policy.domain.rule_set import RuleSet


class RuleSetStore(Protocol):
    """The versions of the rule set."""

    async def latest(self) -> RuleSet | None:
        """Return the newest version; None before the first.

        Raises:
            RuleSetRefusedError: a rule in it is not understood by this release.
        """
        ...

    async def install(self, rules: Sequence[Rule], *, origin: str) -> RuleSet:
        """Make these rules the newest version, unless they are it already; return it."""
        ...

    async def changed(self, *, within: float) -> None:
        """Return when somebody installed a version, or after so many seconds."""
        ...
