"""What the audit trail and the outbox cost of a turn, in CPU.

`python -m tests.bench.records` prints rows as JSON (see `tests/bench/rows.py`), on a running stack. Counted
is the CPU of the processes that are there for nothing else, and of their sessions in Postgres, from before
a load of turns until every audit record of it is appended, less what they use at rest in that time:

- `audit`, `worker-outbox` and `worker-projections` (which also remembers turns; that is counted with it),
- the Postgres backends of the roles `audit`, `worker_outbox` and `worker_projections`.

Not counted: the rows that a service writes into its outbox within its own transaction, and Kafka's part;
both stand in the CPU rows of the road. The baseline is the CPU of the whole stack for the same turns.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Final

import psutil  # type: ignore[import-untyped]  # it has no stubs

from mesh.runtime import eventloop
from tests.bench.driver import check, follow
from tests.bench.rows import Bound, Row, emit, shares, single
from tests.bench.target import Target
from tests.bench.usage import Usage, Watched
from tests.support.wires import Client, connect

PROCESSES: Final = ("audit", "worker-outbox", "worker-projections")
ROLES: Final = ("audit", "worker_outbox", "worker_projections")
BOUND: Final = Bound(2.0)
REST_SECONDS: Final = 10.0
_APPENDED: Final = "select count(*) from audit.records"
_WAITING: Final = "select count(*) from orchestrator.outbox where published_at is null"


def backends(watched: Watched) -> dict[str, float]:
    """Give the CPU seconds of Postgres's backends by role; its title names the role of each."""
    found = dict.fromkeys(ROLES, 0.0)
    for pid in watched.pids("postgres"):
        try:
            process = psutil.Process(pid)
            title, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        for role in ROLES:
            if title.startswith(f"postgres: {role} "):
                found[role] += times.user + times.system
    return {f"postgres ({role})": seconds for role, seconds in found.items()}


def counted(watched: Watched) -> tuple[Usage, float]:
    """Give the CPU of what is counted, and of the whole stack."""
    usage = watched.usage()
    own = {name: usage.cpu[name] for name in PROCESSES} | backends(watched)
    return Usage(own), sum(usage.cpu.values())


async def settled(target: Target, *, least: int, seconds: float = 60.0) -> int:
    """Wait until so many records are appended and none comes any more; give how many there are."""
    async with target.database() as connection:
        last, until = -1, time.monotonic() + seconds
        while time.monotonic() < until:
            count = int(await connection.fetchval(_APPENDED))
            waiting = int(await connection.fetchval(_WAITING))
            if count == last and count >= least and not waiting:
                return count
            last = count
            await asyncio.sleep(1.0)
    raise RuntimeError(f"{last} audit records after {seconds:g} s, {least} were expected")


async def load(client: Client, *, turns: int, streams: int) -> None:
    """Run turns in sessions that are there already."""
    sessions = [await client.create_session("bootstrap") for _ in range(streams)]
    journals = []

    async def lane(session: str, number: int) -> None:
        journals.extend(
            [
                await follow(client, session, f"Tell me more of {place}", max_tokens=64)
                for place in range(number, turns, streams)
            ]
        )

    await asyncio.gather(*(lane(session, number) for number, session in enumerate(sessions)))
    if damage := await check(client, journals):
        raise RuntimeError(f"streams were damaged: {damage}")


async def measure(target: Target, *, rounds: int, turns: int, streams: int) -> list[Row]:
    """Measure, and take off what is used at rest."""
    watched = await target.watched()
    each: list[float] = []
    whole: list[float] = []
    parts: dict[str, float] = {}
    async with connect(over_grpc=False) as client:
        await load(client, turns=streams, streams=streams)
        for _ in range(rounds):
            base = await settled(target, least=0)
            quiet, stack = counted(watched)
            await asyncio.sleep(REST_SECONDS)
            before, stack_before = counted(watched)
            resting = {name: used / REST_SECONDS for name, used in before.since(quiet).items()}
            begin = time.perf_counter()
            await load(client, turns=turns, streams=streams)
            await settled(target, least=base + turns)
            after, stack_after = counted(watched)
            seconds = time.perf_counter() - begin
            used = {
                name: 1e3 * (cpu - resting[name] * seconds) / turns
                for name, cpu in after.since(before).items()
            }
            each.append(sum(used.values()))
            rest = (stack_before - stack) / REST_SECONDS
            whole.append(1e3 * (stack_after - stack_before - rest * seconds) / turns)
            parts = {name: parts.get(name, 0.0) + cpu / rounds for name, cpu in used.items()}
    name = f"audit and outbox, CPU of a turn at {streams} streams"
    row = single(name, "ms", each, bound=BOUND, beside=sorted(whole)[len(whole) // 2])
    return [row, *shares(name, "ms", {key: max(0.0, value) for key, value in parts.items()})]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=400, help="of each round")
    parser.add_argument("--streams", type=int, default=50)
    given = parser.parse_args()
    rows = measure(Target.here(), rounds=given.rounds, turns=given.turns, streams=given.streams)
    emit(eventloop.run(rows))


if __name__ == "__main__":
    main()
