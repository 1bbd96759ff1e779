"""Questions about decisions: the same engine that every service runs, for the principal that asks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mesh.policy import BundleStore, Decision, RuleTrace
from mesh.runtime.context import Principal
from mesh.runtime.ids import new_id
from services.policy.errors import attribute_refused

_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63}){1,7}")
_LONGEST_VALUE: Final = 4096


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a principal may do something."""

    principal: Principal
    action: str
    attributes: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse attributes that no rule could name, and those that only a token may give.

        Raises:
            InvalidArgument: one of them.
        """
        for name, value in self.attributes.items():
            if not _ATTRIBUTE.fullmatch(name):
                raise attribute_refused(name, "is not the name of an attribute")
            if name.startswith("principal."):
                raise attribute_refused(name, "comes from the token")
            if len(value) > _LONGEST_VALUE:
                raise attribute_refused(name, f"is longer than {_LONGEST_VALUE} characters")


def answer(store: BundleStore, question: Question) -> Decision:
    """Decide.

    Raises:
        Unavailable: no bundle is in force.
    """
    engine = store.engine()
    decision = engine.decide(question.principal, question.action, question.attributes)
    return decision.identified(new_id("dec"))


def explain(store: BundleStore, question: Question) -> tuple[Decision, tuple[RuleTrace, ...]]:
    """Decide, and tell what each rule said that the principal's tenant may know of.

    Raises:
        Unavailable: no bundle is in force.
    """
    engine = store.engine()
    asked = (question.principal, question.action, question.attributes)
    return engine.decide(*asked).identified(new_id("dec")), engine.explain(*asked)
