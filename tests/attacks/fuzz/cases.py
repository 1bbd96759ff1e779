"""How many cases each family of the fuzzing runs, by which seed, and the count of what ran.

`SOMA_FUZZ_CASES` is the sum over all families: small by default, 100,000 with `make fuzz`.
`SOMA_FUZZ_SEED` repeats a run.
"""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from typing import Final

from hypothesis import HealthCheck, settings

CASES: Final = int(os.environ.get("SOMA_FUZZ_CASES", "3000"))
SEED: Final = int(os.environ.get("SOMA_FUZZ_SEED", "20261122"))
SHARES: Final = {
    "messages over gRPC": 25,
    "bytes over gRPC": 20,
    "JSON at the edge": 10,
    "OpenAPI operations": 5,
    "parsers": 40,
}
"""Percent of all cases."""

TALLY: Counter[str] = Counter()
"""How many cases of each family ran."""


def share(family: str, *, parts: int = 1) -> int:
    """How many cases one of `parts` equal parts of a family runs; at least one."""
    return max(1, math.ceil(CASES * SHARES[family] / 100 / parts))


def random_of(family: str) -> random.Random:
    """The random numbers of a family."""
    return random.Random(f"{SEED} {family}")


def examples(parts: int) -> settings:
    """Settings of one of `parts` parsers that share their family's cases."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=share("parsers", parts=parts),
        deadline=None,
        database=None,
        derandomize="SOMA_FUZZ_SEED" not in os.environ,
        suppress_health_check=slow,
    )
