"""Tokenizers of the built models, read once; off the event loop where texts are long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from services.slm.domain.model import Model, Provider

BYTES_PER_TOKEN: Final = 3
"""Of an estimate: English has about four, other languages and code fewer, so it counts high."""
_INLINE: Final = 4096
_AT_ONCE: Final = 2


class Tokenizers:
    """The port `TokenCounts`, by Triton's names of the models."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Read the tokenizers; a file that is not there leaves the estimate."""
        self._tokenizers = {name: _read(file) for name, file in files.items() if file.is_file()}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def count(self, model: Model, texts: Sequence[str]) -> tuple[list[int], bool]:
        """Return the tokens of each text, and whether the model's own tokenizer counted."""
        tokenizer = self._tokenizers.get(model.provider_model) if model.provider is Provider.TRITON else None
        if tokenizer is None:
            return [-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts], False
        if sum(map(len, texts)) <= _INLINE:
            return _count(tokenizer, texts), True
        async with self._places:
            return await asyncio.to_thread(_count, tokenizer, texts), True


def _read(file: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _count(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [len(encoding.ids) for encoding in found]
