"""The slope of a series by least squares, with a confidence interval that knows of memory's persistence.

Successive samples of a process's memory are alike, so that the textbook interval is far too narrow. The
number of samples is therefore taken as n (1 - r) / (1 + r) with r the correlation of residuals one
sample apart (Bartlett 1935; Santer et al. 2000, section 2), and the quantile is Student's for that many.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Z: Final = 1.959964  # 95 %, both sides


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope with half the width of its 95 % interval, in units of y by units of x."""

    value: float
    half: float

    def above(self, bound: float) -> bool:
        """Tell whether the slope is surely above a bound."""
        return self.value - self.half > bound


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Fit a line.

    Raises:
        ValueError: fewer than three points, or all at one x.
    """
    count = len(x)
    if count < 3 or count != len(y):
        raise ValueError("a slope needs three points or more, and as many y as x")
    mean_x, mean_y = math.fsum(x) / count, math.fsum(y) / count
    width = math.fsum((a - mean_x) ** 2 for a in x)
    if not width:
        raise ValueError("all points lie at one x")
    value = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / width
    left = [b - mean_y - value * (a - mean_x) for a, b in zip(x, y, strict=True)]
    squares = math.fsum(one * one for one in left)
    if not squares:
        return Slope(value, 0.0)
    like = math.fsum(a * b for a, b in itertools.pairwise(left)) / squares
    like = min(max(like, 0.0), 0.999)
    effective = max(3.0, count * (1 - like) / (1 + like))
    error = math.sqrt(squares / (effective - 2) / width) if effective > 2 else math.inf
    return Slope(value, student(effective - 2) * error)


def student(freedom: float) -> float:
    """Give the 97.5 % quantile of Student's distribution.

    Abramowitz and Stegun 26.7.5: within 1 % from three degrees of freedom on, too small below.
    """
    z = Z
    return z + sum(
        (
            (z**3 + z) / (4 * freedom),
            (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2),
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3),
        )
    )
