"""The rows of the running batch, kept without holes: a row that ends is replaced by the last one.

A row's result does not depend on its place or on its neighbours (the tests compare it with a run alone).
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.engine.decoder import Decoder

Owner = TypeVar("Owner")


@dataclass(kw_only=True)
class Row(Generic[Owner]):
    """One sequence in the batch: its owner, its cached length and the token to be appended next."""

    owner: Owner
    length: int
    token: int = -1


class Batch(Generic[Owner]):
    """Rows 0 to n-1 stand in the decoder's slots 0 to n-1."""

    def __init__(self, decoder: Decoder) -> None:
        """Start with no rows."""
        self._decoder = decoder
        self.rows: Final[list[Row[Owner]]] = []

    @property
    def free(self) -> int:
        """How many more rows fit."""
        return self._decoder.slots - len(self.rows)

    def add(
        self, owner: Owner, tokens: list[int], *, loaded: bool = False
    ) -> tuple[Row[Owner], NDArray[np.float32]]:
        """Prefill a new last row; return it with its next token's logits. The caller sets `Row.token`."""
        logits = self._decoder.prefill(len(self.rows), tokens, loaded=loaded)
        row = Row(owner=owner, length=len(tokens))
        self.rows.append(row)
        return row, logits

    def step(self) -> NDArray[np.float32]:
        """Append each row's token; return the logits [rows, vocabulary] of the next ones."""
        for row in self.rows:
            row.length += 1
        return self._decoder.step([row.token for row in self.rows], [row.length for row in self.rows])

    def remove(self, row: Row[Owner]) -> None:
        """Free a row's slot; the last row moves into it."""
        index = next(i for i, other in enumerate(self.rows) if other is row)
        last = self.rows.pop()
        if last is not row:
            self._decoder.move(len(self.rows), index, last.length)
            self.rows[index] = last
