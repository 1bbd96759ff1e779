"""The agents that a session can talk to."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """An agent: instructions, a model, and whether it looks things up first."""

    name: str
    description: str
    model: str
    recall: bool
    converses: bool = True
    """Whether earlier turns are part of its prompt."""
    instructions: str = ""
    notice: str = ""
    max_tokens: int = 1024
    temperature: float = 0.0


DEFAULT: Final = "guide"

_BUILT_IN: Final = (
    Persona(
        name="guide",
        description=(
            "Answers from the tenant's documents: quotes the sentences that answer, each with its "
            "citation, or says that nothing there does."
        ),
        model="guide",
        recall=True,
        converses=False,
    ),
    Persona(
        name="bootstrap",
        description="Writes freely with the built-in bootstrap model; exercises the whole road.",
        model="bootstrap",
        recall=False,
        notice="Bootstrap model: it exercises the real path; its words have no meaning.",
        max_tokens=256,
        temperature=0.7,
    ),
)
BUILT_IN: Final[Mapping[str, Persona]] = MappingProxyType({one.name: one for one in _BUILT_IN})
