"""What a tree says of its models, for the slm service: ``profile.json`` beside each ``config.pbtxt``.

Knows the standard library only, so that services may import it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PromptForm = Literal["extract", "chatml"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A model's public name and what a caller must know of it.

    `model` is its name in Triton; `tokenizer` the absolute path of its tokenizer.json; `context_window`
    counts prompt and answer; `notice` is shown wherever the model's words are, empty where there is nothing
    to say.
    """

    name: str
    model: str
    prompt: PromptForm
    context_window: int
    max_output_tokens: int
    tokenizer: Path
    stop: tuple[str, ...]
    description: str
    notice: str


def load_profiles(repository: Path) -> list[Profile]:
    """Return a repository's profiles in the order of their names; models without one are not callable."""
    return sorted(
        (_read(file) for file in repository.glob("*/profile.json")), key=lambda profile: profile.name
    )


def _read(file: Path) -> Profile:
    values: dict[str, Any] = json.loads(file.read_text())
    return Profile(
        name=values["name"],
        model=file.parent.name,
        prompt=values["prompt"],
        context_window=values["context_window"],
        max_output_tokens=values["max_output_tokens"],
        tokenizer=(file.parent / values["tokenizer"]).resolve(),
        stop=tuple(values["stop"]),
        description=values["description"],
        notice=values["notice"],
    )
