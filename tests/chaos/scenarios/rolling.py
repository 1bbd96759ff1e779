"""Every process is replaced under load: no call fails, and every stream goes on or resumes byte for byte."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mesh.stack.catalogue import ROLLED
from tests.chaos.fault import Outcome
from tests.chaos.scenarios.load import load
from tests.support.stack import Stack, soma

NAME = "rolling restart"
QUICK = ("orchestrator", "gateway", "memory", "worker-slm", "envoy")
AND_BACK = 2
"""A second round brings every process back to the ports that it had before."""


async def run(stack: Stack, *, seed: int, quick: bool) -> Outcome:
    """Replace every process, twice round; the quick form some of them."""
    return await replace(stack, (QUICK if quick else ROLLED) * AND_BACK, seed=seed)


async def replace(stack: Stack, names: Sequence[str], *, seed: int) -> Outcome:
    """Replace processes one after another while calls and streams go on."""
    wrong: list[str] = []
    longest = 0.0
    async with load(stack, seed=seed) as tally:
        for name in names:
            before, begun = await stack.process(name), time.monotonic()
            await soma(stack.settings, "restart", "--rolling", name)
            longest = max(longest, time.monotonic() - begun)
            if (await stack.process(name)).pid == before.pid:
                wrong.append(f"{name} was not replaced")
    await stack.ready()
    return Outcome(
        name=NAME,
        counts={"replaced": len(names), **tally.counts()},
        figures={"replacement_longest_s": round(longest, 2)},
        wrong=(*wrong, *tally.wrong),
    )
