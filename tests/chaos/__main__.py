"""`make chaos`: faults by seed while users act, a checker over all that was told, and the scenarios.

    python -m tests.chaos --seed 7              at most ten minutes; the same seed plans the same faults
    python -m tests.chaos --long                all of it, each process killed 20 times or more
    python -m tests.chaos --long --part 2/3     the second third of it; the last part has the scenarios
    python -m tests.chaos --only "kill redis"   one fault, or one scenario, by name; may be repeated
    python -m tests.chaos --minutes 2           so long a storm

The stack is one of its own (`.soma-chaos`); `SOMA_TEST_HOME` names another one. Exit code 1 where an
invariant does not hold: then the journal and the stack's folder stay, and are named.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mesh.stack.client_file import ClientFile
from mesh.stack.settings import StackSettings
from tests.chaos import report
from tests.chaos.fault import CannotRunHere, Fault, Outcome
from tests.chaos.faults import FAULTS
from tests.chaos.plan import Step, part_of, plan
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.storm import Storm, say, storm
from tests.chaos.traces import collecting
from tests.support.stack import ROOT, Stack, shared_settings, soma

HOME, PORT_BASE = ROOT / ".soma-chaos", "26400"
COLLECTOR_OFFSET = 160
QUICK_MINUTES, LONG_MINUTES = 3.5, 24 * 60.0
QUICK_SECONDS, LONG_SECONDS = 570.0, 24 * 3600.0
"""How long all of it may last."""
LEAST_SCENARIO_SECONDS = 30.0


def part(text: str) -> tuple[int, int]:
    """Read which part of how many.

    Raises:
        argparse.ArgumentTypeError: it is not K/N with 1 <= K <= N.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N, such as 2/3")
    return int(number), int(count)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--long", action="store_true", help="everything, for hours")
    parser.add_argument("--part", type=part, default=(1, 1), metavar="K/N", help="one of N parts of it")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--minutes", type=float, help="how long the storm may last")
    parser.add_argument("--json", type=Path, help="where the report goes, for programs")
    return parser.parse_args(given)


def settings() -> StackSettings:
    """Where the storm's stack is, or is to be."""
    if os.environ.get("SOMA_TEST_HOME"):
        return shared_settings()
    environment = {**os.environ, "SOMA_HOME": str(HOME)}
    environment.setdefault("SOMA_LIB", str(ROOT / ".soma" / "lib"))
    environment["SOMA_PORT_BASE"] = os.environ.get("SOMA_CHAOS_PORT_BASE", PORT_BASE)
    return StackSettings.from_environment(environment)


def chosen(given: argparse.Namespace) -> tuple[list[Fault], list[str]]:
    """The faults and scenarios that were asked for.

    Raises:
        SystemExit: a name is none of them.
    """
    names = {fault.name for fault in FAULTS} | SCENARIOS.keys()
    if unknown := [name for name in given.only if name not in names]:
        raise SystemExit(f"chaos: no fault or scenario is called {unknown[0]!r}; there are {sorted(names)}")
    if not given.only:
        return list(FAULTS), list(SCENARIOS)
    asked = [dataclasses.replace(one, long_only=False) for one in FAULTS if one.name in given.only]
    return asked, [one for one in SCENARIOS if one in given.only]


async def bring_up(where: StackSettings, steps: Sequence[Step], *, collector: int) -> Stack:
    """Prepare what the faults need, and start the stack."""
    for fault in {step.fault.name: step.fault for step in steps}.values():
        if fault.prepare is not None:
            try:
                await fault.prepare(where)
            except CannotRunHere as reason:  # its injection says so again, where it counts
                say(f"not prepared: {fault.name}: {reason}")
    extra = {"SOMA_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}", "SOMA_TRACE_RATIO": "0.1"}
    await soma(where, "up", extra=extra)
    client = ClientFile.read(where.home.client)
    assert client is not None, "the first run wrote no client.json"
    return Stack(settings=where, client=client)


async def scenes(
    stack: Stack, names: Sequence[str], *, seed: int, long: bool, left: Callable[[], float]
) -> tuple[list[Outcome], list[str]]:
    """Run the scenarios by seed, one after another; one that raises or hangs is wrong.

    The short run leaves out those for which it has no time left; they are told.
    """
    found, left_out = [], []
    for name in random.Random(seed).sample(names, len(names)):
        if left() < LEAST_SCENARIO_SECONDS:
            left_out.append(f"{name}: no time left")
            continue
        say(f"scenario {name}")
        try:
            async with asyncio.timeout(left()):
                await stack.ready()  # whatever the one before left
                found.append(await SCENARIOS[name](stack, seed=seed, quick=not long))
        except CannotRunHere as reason:
            left_out.append(f"{name}: {reason}")
        except Exception as error:  # noqa: BLE001 - the others are still to be run
            found.append(Outcome(name=name, counts={}, wrong=(f"{type(error).__name__}: {error}",)))
    return found, left_out


async def run(given: argparse.Namespace, where: StackSettings, journal: Path) -> tuple[Storm, list[Outcome]]:
    """Storm, check, scenarios."""
    begun = time.monotonic()
    faults, scenarios = chosen(given)
    steps = plan(given.seed, faults, long=given.long)
    number, count = given.part
    steps = part_of(steps, number, count)
    if number < count:
        scenarios = []
    happened = Storm()
    collector = where.ports.base + COLLECTOR_OFFSET
    async with collecting(collector) as traces:
        say("bringing the stack up")
        stack = await bring_up(where, steps, collector=collector)
        if steps:
            minutes = given.minutes or (LONG_MINUTES if given.long else QUICK_MINUTES)
            happened = await storm(
                stack, steps, seed=given.seed, seconds=60 * minutes, journal=journal, traces=traces
            )
        all_in = LONG_SECONDS if given.long or given.only else QUICK_SECONDS
        outcomes, left_out = await scenes(
            stack, scenarios, seed=given.seed, long=given.long,
            left=lambda: begun + all_in - time.monotonic(),
        )  # fmt: skip
        happened.not_run += left_out
    return happened, outcomes


def main() -> int:
    """Command line; 1 where an invariant does not hold."""
    given, where = arguments(), settings()
    begun = time.monotonic()
    say(f"seed {given.seed}")
    where.home.root.mkdir(parents=True, exist_ok=True)
    journal = where.home.root / f"journal-{given.seed}-{int(time.time())}.jsonl"
    own = not os.environ.get("SOMA_TEST_HOME")
    try:
        happened, outcomes = asyncio.run(run(given, where, journal))
    finally:
        if own:
            asyncio.run(soma(where, "down", "--quiet-if-stopped"))
    told = report.report_of(happened, outcomes, seed=given.seed)
    print(report.as_text(told))
    if given.json is not None:
        report.write(given.json, told)
    wrong = bool(happened.violations) or any(one.wrong for one in outcomes)
    say(f"seed {given.seed}: {'WRONG' if wrong else 'all invariants hold'}, {time.monotonic() - begun:.0f} s")
    if wrong:
        say(f"journal {journal}, stack {where.home.root}")
    elif own:
        shutil.rmtree(where.home.root)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
