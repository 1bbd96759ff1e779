"""Sessions: how many a second can be made, and the load scenario of 1,000 clients with 100 streams.

`python -m tests.bench.sessions` prints rows as JSON (see `tests/bench/rows.py`), on a running stack. The
clients are processes of their own (`tests/bench/wire.py`).

- Paced: 300 creations a second are due at even distances; p95 counts from when each was due.
- At full speed: 32 clients without a pause.
- Scenario: clients join one by one over `--ramp` seconds, up to 1,000, and stay; each posts to `/v1/sessions`
  and thinks for 3 seconds before the next one. Then, with 1,000 sessions open, 100 turns stream while the
  clients go on; p95 and errors are of the creations, and of every stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from typing import Final

from mesh.runtime import eventloop
from tests.bench.driver import Report, drive
from tests.bench.rows import Bound, Row, emit, quantile, shares, single
from tests.bench.target import Target
from tests.bench.usage import Watched, per
from tests.bench.wire import Outcome, Plan, Processes, Request
from tests.support.wires import Client, connect

PERSONA: Final = "guide"
GENERATIVE: Final = "bootstrap"
RATE: Final = 300.0
CLIENTS: Final = 1_000
STREAMS: Final = 100
THINK_SECONDS: Final = 3.0
PROCESSES: Final = 2
QUESTION: Final = "What does the worker number {} do when a process dies?"


async def creations(
    watched: Watched, processes: Processes, request: Request, *, rounds: int, seconds: float
) -> list[Row]:
    """Make sessions, at a pace and at full speed."""
    paced: list[Outcome] = []
    full: list[Outcome] = []
    used: dict[str, float] = {}
    await processes.play(Plan(request=request, clients=16, seconds=2.0))
    for _ in range(rounds):
        paced.append(await processes.play(Plan(request=request, clients=64, seconds=seconds, rate=RATE)))
        before = watched.usage()
        full.append(await processes.play(Plan(request=request, clients=32, seconds=seconds)))
        for name, milliseconds in per(watched.usage().since(before), len(full[-1].milliseconds)).items():
            used[name] = used.get(name, 0.0) + milliseconds / rounds
    failed = sum(one.failed for one in (*paced, *full))
    rate = [len(one.milliseconds) / one.seconds for one in full]
    p95 = [quantile(one.milliseconds, 0.95) for one in paced]
    base = f"{len(paced) * int(RATE * seconds)} creations"
    return [
        single("sessions created at full speed", "1/s", rate, bound=Bound(RATE, least=True)),
        single(f"create a session at {RATE:g}/s, p95", "ms", p95, bound=Bound(20.0), note=base),
        single(f"create a session at {RATE:g}/s, p50", "ms",
               [quantile(one.milliseconds, 0.5) for one in paced], beside=p95[0], note=base),
        single("create a session: errors", "calls", [float(failed)], bound=Bound(0.0)),
        *shares("CPU of a session", "ms", {k: v for k, v in used.items() if v >= 0.005}),
    ]  # fmt: skip


async def scenario(
    client: Client, processes: Processes, request: Request, *, clients: int, streams: int, ramp: float
) -> list[Row]:
    """Ramp up to all clients, then stream beside them."""
    asked = asyncio.ensure_future(
        processes.play(
            Plan(request=request, clients=clients, seconds=2 * ramp, pause=THINK_SECONDS, ramp=ramp)
        )
    )
    await asyncio.sleep(ramp)
    texts = [QUESTION.format(number) for number in range(streams)]
    report = await drive(client, streams=streams, turns=2 * streams, persona=GENERATIVE, texts=texts,
                         max_tokens=64, recall=True)  # fmt: skip
    outcome = await asked
    return _told(outcome, report, name=f"{clients} clients, {streams} streams")


def _told(outcome: Outcome, report: Report, *, name: str) -> list[Row]:
    note = f"{len(outcome.milliseconds)} creations, statuses {outcome.statuses}, {len(report.journals)} turns"
    errors = outcome.failed + len(report.damage) + sum(one.cuts for one in report.journals)
    firsts = [(one.first_delta - one.asked) * 1000 for one in report.journals]
    p95 = quantile(outcome.milliseconds, 0.95)
    return [
        single(
            f"load scenario, {name}: p95 of POST /v1/sessions", "ms", [p95], bound=Bound(250.0), note=note
        ),
        single(f"load scenario, {name}: errors", "calls", [float(errors)], bound=Bound(0.0), note=note),
        single(f"load scenario, {name}: first text p95", "ms", [quantile(firsts, 0.95)], note=note),
    ]


async def measure(given: argparse.Namespace) -> Sequence[Row]:
    """Make the table."""
    target = Target.here()
    watched = await target.watched()
    body = json.dumps({"persona": PERSONA}).encode()
    request = Request.post(target.client.edge_url, "/v1/sessions", key=target.client.api_key, body=body)
    processes = Processes(PROCESSES)
    try:
        found = await creations(watched, processes, request, rounds=given.rounds, seconds=given.seconds)
        await watched.resting()
        async with connect(over_grpc=True) as client:
            found += await scenario(
                client, processes, request, clients=given.clients, streams=given.streams, ramp=given.ramp
            )
        return found
    finally:
        processes.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each round")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--ramp", type=float, default=20.0, help="seconds over which the clients join")
    emit(eventloop.run(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
