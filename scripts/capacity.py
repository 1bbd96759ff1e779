"""From what a turn, a session and an idle stream cost to what a day of ten million messages needs.

`python -m scripts.capacity` reads `bench.json` and prints the tables of `docs/capacity.md`; `--write` puts
them there. Formulas, with their sources, stand in that page. Everything measured comes from the rows of
`make bench`; everything assumed is an argument with its default in `Day`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "capacity.md"
BEGIN, END = "<!-- begin: scripts/capacity.py -->", "<!-- end: scripts/capacity.py -->"
# One event loop or one command thread: more than a core is another process. The rest use all cores they get.
THREADED: Final = frozenset({"postgres", "kafka", "envoy", "triton", "temporal"})
CLIENT: Final = "bench client"
TOKENS: Final = (64, 384)
WIDE: Final = (50, 100, 200)
NARROW: Final = 10
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What is asked of the platform.

    Attributes:
        messages: turns a day.
        sessions: open at once, each with an idle stream.
        peak: rate in the busiest minutes by the mean rate of the day.
        turns_per_session: mean.
        tokens: mean length of an answer.
        recalled: share of turns that recall.
        wait: seconds that 95 % of visits to a process wait at most for its CPU.
    """

    messages: float = 10e6
    sessions: float = 100e3
    peak: float = 5.0
    turns_per_session: float = 20.0
    tokens: float = 128.0
    recalled: float = 0.5
    wait: float = 0.05

    @property
    def rate(self) -> float:
        """Turns a second at the peak."""
        return self.messages / 86_400 * self.peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """CPU seconds of one process: of a turn, of each token more, of recall, of a session, of a stream."""

    turn: float = 0.0
    token: float = 0.0
    recall: float = 0.0
    session: float = 0.0
    stream: float = 0.0
    stream_bytes: float = 0.0

    def of_turn(self, day: Day) -> float:
        """CPU seconds of a mean turn."""
        return max(0.0, self.turn + self.token * day.tokens + self.recall * day.recalled)

    def cores(self, day: Day) -> float:
        """Cores at the peak (utilisation law)."""
        created = day.rate / day.turns_per_session * self.session
        return day.rate * self.of_turn(day) + created + day.sessions * self.stream


def utilisation(rate: float, demand: float, servers: int = 1) -> float:
    """Utilisation law: U = X D / c (Denning and Buzen 1978)."""
    return rate * demand / servers


def erlang_c(servers: int, offered: float) -> float:
    """Give the probability to wait in M/M/c (Erlang 1917); `offered` in erlangs.

    Raises:
        ValueError: the load is not below the number of servers.
    """
    if not 0 <= offered < servers:
        raise ValueError(f"{offered} erlangs need more than {servers} servers")
    blocked = 1.0  # Erlang B by its recursion, which does not overflow
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def waits_longer(servers: int, offered: float, service: float, seconds: float) -> float:
    """Give P(W > t) = C(c, a) exp(-(c - a) t / s) of M/M/c."""
    return erlang_c(servers, offered) * math.exp(-(servers - offered) * seconds / service)


def pooled(offered: float, service: float, wait: float, *, most: float = 0.05) -> int:
    """Give the fewest servers behind one queue with P(W > wait) <= most."""
    servers = max(1, math.floor(offered) + 1)
    while waits_longer(servers, offered, service, wait) > most:
        servers += 1
    return servers


def split(offered: float, service: float, wait: float, *, most: float = 0.05) -> int:
    """Give the fewest servers with a queue each (calls dealt at random: c times M/M/1)."""
    servers = max(1, math.floor(offered) + 1)
    while waits_longer(1, offered / servers, service, wait) > most:
        servers += 1
    return servers


def line(at: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Give the intercept and the slope through two points."""
    (x, y), (u, v) = at
    slope = (v - y) / (u - x)
    return y - slope * x, slope


def closed(streams: int, alone: float, demand: float, cores: float) -> float:
    """Give the turns a second of a closed loop: min(N / R(1), cores / D), its asymptotic bounds."""
    return min(streams / alone, cores / demand)


def by_process(rows: Rows, prefix: str, scale: float) -> dict[str, float]:
    """Give the rows `<prefix>: <process>`."""
    start = f"{prefix}: "
    return {name[len(start) :]: row["ours"] * scale for name, row in rows.items() if name.startswith(start)}


def cpu_of_turn(rows: Rows, streams: int, tokens: int, *, recall: bool = False) -> dict[str, float]:
    """Give the CPU seconds of a turn by process, at a load."""
    told = "with" if recall else "without"
    return by_process(rows, f"CPU of a turn, {streams} streams, {tokens} tokens, {told} recall", 1e-3)


def demands(rows: Rows, *, streams: int = 100) -> dict[str, Demand]:
    """Read what each process costs from the rows of a bench."""
    short, long = (cpu_of_turn(rows, streams, tokens) for tokens in TOKENS)
    if not short or not long:
        raise SystemExit("capacity: bench.json lacks the CPU rows of the road; run `make bench` first")
    recalling = cpu_of_turn(rows, streams, TOKENS[0], recall=True)
    sessions = by_process(rows, "CPU of a session", 1e-3)
    idle = by_process(rows, "CPU of an idle stream in a second", 1e-6)
    memory = by_process(rows, "memory of an idle stream over gRPC", 1024)
    found = {}
    for name in sorted((set(short) | set(sessions) | set(idle) | set(memory)) - {CLIENT}):
        points = [(float(size), one.get(name, 0.0)) for size, one in zip(TOKENS, (short, long), strict=True)]
        turn, token = line(points)
        found[name] = Demand(
            turn=turn,
            token=token,
            recall=max(0.0, recalling.get(name, 0.0) - short.get(name, 0.0)),
            session=sessions.get(name, 0.0),
            stream=idle.get(name, 0.0),
            stream_bytes=memory.get(name, 0.0),
        )
    return found


def sizing(found: Mapping[str, Demand], day: Day) -> list[list[str]]:
    """Give the rows of the table of processes, the one that saturates first on top."""
    made = []
    for name, one in sorted(found.items(), key=lambda each: -each[1].cores(day)):
        cores, service = one.cores(day), max(one.of_turn(day), 1e-6)
        if name in THREADED:
            need, kind = pooled(cores, service, day.wait), "cores"
        else:
            need, kind = split(cores, service, day.wait), "processes"
        most = 1 / one.of_turn(day) if one.of_turn(day) else math.inf
        gib = day.sessions * one.stream_bytes / 2**30
        made.append(
            [name, f"{1e3 * one.of_turn(day):.2f}", f"{most:.0f}", f"{cores:.2f}", f"{need} {kind}",
             f"{cores / need:.2f}", f"{gib:.2f}"]
        )  # fmt: skip
    return made


def partitions(workers: int) -> int:
    """Give the partitions for that many consumers: twice as many, as a power of two.

    A partition has one consumer of a group; twice as many let the group grow without moving keys.
    """
    return int(2 ** math.ceil(math.log2(max(1, 2 * workers))))


@dataclass(frozen=True, slots=True)
class Check:
    """A prediction beside what was measured."""

    what: str
    unit: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Relative."""
        return self.predicted / self.measured - 1


def checks(rows: Rows, *, cores: float) -> list[Check]:
    """Predict loads of 50 to 200 streams from those of 1 and 10, and give them beside the measured ones.

    X(N) = min(N / R(1), cores / D), D with the client's CPU, which is on the same cores; and of the
    first text, beyond the slots of the model, the wait (N - N*) / X with N* = X R(1).
    """
    found = []
    for tokens in TOKENS:
        base = "road against bare Triton, {} streams, " + f"{tokens} tokens, without recall: "
        one = rows.get(base.format(1) + "throughput")
        demand = sum(cpu_of_turn(rows, NARROW, tokens).values())
        if one is None or not demand:
            continue
        alone = tokens / one["ours"]
        for streams in WIDE:
            measured = rows.get(base.format(streams) + "throughput")
            if measured is None:
                continue
            rate = closed(streams, alone, demand, cores)
            found.append(Check(f"turns a second, {streams} streams, {tokens} tokens", "1/s", rate,
                               measured["ours"] / tokens))  # fmt: skip
            first = rows.get(base.format(streams) + "first text p50")
            waited = (streams - rate * alone) / rate
            if first is not None and streams == WIDE[0] and waited > 0:
                found.append(Check(f"first text p50, {streams} streams, {tokens} tokens", "s", waited,
                                   first["ours"] / 1e3))  # fmt: skip
    return found


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(one) + " |" for one in lines)


def page(rows: Rows, day: Day, *, cores: float) -> str:
    """Give the part of the page that is computed."""
    found = demands(rows)
    body = sizing(found, day)
    first = body[0][0]
    worker = next((one for one in body if one[0] == "worker-slm"), None)
    count = int(worker[4].split()[0]) if worker else 1
    head = ["process", "ms CPU a turn", "turns/s of one", "cores at the peak", "needed", "utilisation",
            "GiB of idle streams"]  # fmt: skip
    proven = [
        [one.what, one.unit, f"{one.predicted:.3g}", f"{one.measured:.3g}", f"{100 * one.error:+.0f} %"]
        for one in checks(rows, cores=cores)
    ]
    return "\n\n".join(
        [
            (
                f"Asked: {day.messages:,.0f} messages a day ({day.messages / 86_400:.0f}/s in the mean, "
                f"{day.rate:.0f}/s at a peak of {day.peak:g} times that), {day.sessions:,.0f} sessions open "
                f"at once, {day.turns_per_session:g} turns a session, {day.tokens:g} tokens an answer, "
                f"{100 * day.recalled:.0f} % of turns with recall, 95 % of visits wait at most "
                f"{1e3 * day.wait:.0f} ms for a CPU."
            ),
            grid(head, body),
            (
                f"**{first}** saturates first: it has the largest demand of all. `slm.requests`, "
                f"`slm.responses` and `turns.events` need {partitions(count)} partitions for {count} "
                "worker processes."
            ),
            "Predicted from the loads of 1 and 10 streams, measured at the others:",
            grid(["what", "unit", "predicted", "measured", "error"], proven),
        ]
    )


def read(file: Path) -> dict[str, Any]:
    """Give the rows of a bench by name."""
    try:
        return {row["name"]: row for row in json.loads(file.read_text(encoding="utf-8"))}
    except FileNotFoundError:
        raise SystemExit(f"capacity: there is no {file}; run `make bench` first") from None


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", nargs="?", type=Path, default=ROOT / "bench.json")
    parser.add_argument("--write", action="store_true", help="into docs/capacity.md")
    for one in fields(Day):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=float, default=one.default)
    given = parser.parse_args()
    rows = read(given.bench)
    machine = rows.get("machine: cores")
    cores = float(machine["ours"]) if machine else 2.0
    text = page(rows, Day(**{one.name: getattr(given, one.name) for one in fields(Day)}), cores=cores)
    if given.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    else:
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
