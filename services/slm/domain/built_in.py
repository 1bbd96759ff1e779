"""The profiles that every tenant has, from what was built for Triton."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from models.profiles import Profile
from services.slm.domain.model import BuiltIn, Model, Provider, Task

EMBED: Final = "embed"
BOOTSTRAP: Final = "bootstrap"
_EXTRACT: Final = "extract"
_SLOTS: Final = 16
_EMBED_CONTEXT: Final = 256


def built_in_models(profiles: Iterable[Profile], *, embed_tokenizer: Path | None) -> dict[str, BuiltIn]:
    """Return the built-in profiles by name."""
    found = [*map(_of_profile, profiles), _embed(embed_tokenizer)]
    return {each.model.name: each for each in sorted(found, key=lambda each: each.model.name)}


def _of_profile(profile: Profile) -> BuiltIn:
    extracts = profile.prompt == _EXTRACT
    description = f"{profile.description} {profile.notice}".strip()
    return BuiltIn(
        model=Model(
            name=profile.name,
            provider=Provider.TRITON,
            task=Task.EXTRACT if extracts else Task.GENERATE,
            provider_model=profile.model,
            context_tokens=profile.context_window,
            max_output_tokens=profile.max_output_tokens,
            slots=_SLOTS,
            description=description,
            built_in=True,
            bootstrap=profile.name == BOOTSTRAP,
        ),
        tokenizer=profile.tokenizer,
    )


def _embed(tokenizer: Path | None) -> BuiltIn:
    return BuiltIn(
        model=Model(
            name=EMBED,
            provider=Provider.TRITON,
            task=Task.EMBED,
            provider_model=EMBED,
            context_tokens=_EMBED_CONTEXT,
            max_output_tokens=0,
            slots=_SLOTS,
            description="all-MiniLM-L6-v2: a text to a vector of 384 numbers and length 1.",
            built_in=True,
        ),
        tokenizer=tokenizer,
    )
