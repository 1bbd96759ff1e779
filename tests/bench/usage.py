"""What each process of a stack has used: CPU seconds and memory, its children included.

CPU is that of every process below the one that the supervisor started, with that of children which
ended and were waited for. Memory is the proportional set size (`smaps_rollup`), so that pages which
processes share are counted once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import psutil  # type: ignore[import-untyped]  # it has no stubs

from mesh.stack.settings import StackSettings
from tests.support.stack import processes

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since the start of each process, by name, at one moment."""

    cpu: Mapping[str, float]

    def since(self, before: Self) -> dict[str, float]:
        """Give what each process used between two moments; one that was started anew counts from zero."""
        return {
            name: used - before.cpu[name] if used >= before.cpu.get(name, used + 1) else used
            for name, used in self.cpu.items()
        }


@dataclass(frozen=True, slots=True)
class Watched:
    """The processes of a stack, by name."""

    roots: Mapping[str, psutil.Process]

    @classmethod
    async def of(cls, settings: StackSettings) -> Watched:
        """Find them; the supervisor knows their pids."""
        rows = await processes(settings)
        return cls({row.name: psutil.Process(row.pid) for row in rows if row.pid is not None})

    def usage(self) -> Usage:
        """Read the CPU of each."""
        return Usage({name: sum(map(_cpu, _tree(root))) for name, root in self.roots.items()})

    def memory(self) -> dict[str, int]:
        """Read the bytes that each holds (PSS)."""
        return {name: sum(map(_pss, _tree(root))) for name, root in self.roots.items()}

    def pids(self, name: str) -> list[int]:
        """Give the pids of a process and of what it started."""
        return [one.pid for one in _tree(self.roots[name])]

    async def resting(self, *, below: float = 0.5, seconds: float = 30.0) -> None:
        """Wait until the whole stack uses less than `below` cores, at most so long."""
        before, passed = self.usage(), 0.0
        while passed < seconds:
            await asyncio.sleep(1.0)
            now = self.usage()
            if sum(now.since(before).values()) < below:
                return
            before, passed = now, passed + 1.0


def _tree(root: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [root, *root.children(recursive=True)]
    return []


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _pss(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return int(process.memory_full_info().pss)
    return 0


def per(used: Mapping[str, float], count: int, *, scale: float = 1000.0) -> dict[str, float]:
    """Give the use of each process by unit of work, in thousandths of a second."""
    return {name: scale * seconds / count for name, seconds in used.items()} if count else {}
