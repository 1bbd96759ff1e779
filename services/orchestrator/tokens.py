"""Counts tokens in process, with the tokenizers of the built models.

A model of elsewhere has no tokenizer here; its tokens are counted high, at three
bytes each, and the provider's own count replaces that in the turn's usage.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from models.profiles import load_profiles

_REMEMBERED: Final = 8192
_BYTES_PER_TOKEN: Final = 3
Count = Callable[[str], int]


class TokenCounter:
    """Counts by model name."""

    def __init__(self, counts: dict[str, Count]) -> None:
        """Take a function by model; see `load`."""
        self._counts = counts

    @classmethod
    def load(cls, repository: Path | None) -> "TokenCounter":
        """Read the tokenizers of a model repository; an absent one leaves the estimate."""
        if repository is None or not repository.is_dir():
            return cls({})
        return cls(
            {
                profile.name: _exact(profile.tokenizer)
                for profile in load_profiles(repository)
                if profile.tokenizer.is_file()
            }
        )

    def of(self, model: str) -> Count:
        """Return the function that counts a model's tokens."""
        return self._counts.get(model, _estimate)


def _exact(file: Path) -> Count:
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    @lru_cache(maxsize=_REMEMBERED)  # passages come back turn after turn
    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count


def _estimate(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)
