"""Every process is replaced under load: no call fails, and every stream goes on or resumes byte for byte."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mesh.stack.catalogue import ROLLED
from tests.chaos.fault import Outcome
from tests.chaos.scenarios.load import load
from tests.support.stack import CommandFailedError, Stack, soma

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
    longest, late = 0.0, 0
    async with load(stack, seed=seed) as tally:
        for name in names:
            before, begun = await stack.process(name), time.monotonic()
            late += await _replace(stack, name)
            longest = max(longest, time.monotonic() - begun)
            if (await stack.process(name)).pid == before.pid:
                wrong.append(f"{name} was not replaced")
    await stack.ready()
    return Outcome(
        name=NAME,
        counts={"replaced": len(names), "late successors": late, **tally.counts()},
        figures={"replacement_longest_s": round(longest, 2)},
        wrong=(*wrong, *tally.wrong),
    )


async def _replace(stack: Stack, name: str) -> int:
    """Replace a process; give 1 where the first successor was given up.

    On a machine with other work a successor may not be ready in time. Then the old process serves on,
    which is no violation, and an operator tries again.
    """
    try:
        await soma(stack.settings, "restart", "--rolling", name)
    except CommandFailedError:
        await stack.ready()
        await soma(stack.settings, "restart", "--rolling", name)
        return 1
    return 0
