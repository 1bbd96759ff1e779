"""A version of the rules, and the rules that every release brings."""

from collections.abc import Iterable
from dataclasses import dataclass

from mesh.policy import Effect, Rule

RELEASE = "release"
"""Origin of the rules that come with a release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """One version."""

    version: int
    rules: tuple[Rule, ...]


def release_rules(scopes: Iterable[str]) -> tuple[Rule, ...]:
    """Give one rule for each scope: whoever holds it may do what it names.

    A scope names an action, so that a token without it is refused by policy, too, and a later deny can speak
    of that action alone.
    """
    return tuple(
        Rule(
            id=f"scope.{scope}",
            effect=Effect.ALLOW,
            actions=(scope,),
            scopes=frozenset({scope}),
            description=f"a token that holds the scope {scope}",
        )
        for scope in sorted(scopes)
    )
