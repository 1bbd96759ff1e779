"""`python -m mesh.stack.supervisor`: the parent of every process of one stack.

Owns the processes and nothing else: it imports no service, holds no connection, and sleeps while
nothing happens (a death wakes it; states are probed only when somebody asks).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from mesh.stack import bindings, endpoints, orphans, rolling
from mesh.stack.background import Background
from mesh.stack.catalogue import BY_NAME, Kind
from mesh.stack.control import Control
from mesh.stack.environment import Environment
from mesh.stack.errors import Code, StackError
from mesh.stack.keeper import Keeper
from mesh.stack.lifecycle import RestartPolicy, State
from mesh.stack.plan import STOP_ORDER, Plan, plan_of, unknown
from mesh.stack.processes import Identity, members, resident_bytes
from mesh.stack.settings import StackSettings
from mesh.stack.steps import code_digest
from mesh.stack.workloads import CANARY, STABLE, PythonProcess

Progress = Callable[[dict[str, object]], None]
GRACE = 3.5


class Supervisor:
    """All processes of one stack."""

    def __init__(self, settings: StackSettings) -> None:
        """Draw up the plan; start nothing."""
        self.settings = settings
        self.plan: Plan = plan_of(settings)
        self.keepers: dict[str, Keeper] = {}
        self.leaving: dict[str, Keeper] = {}
        self.listeners: list[Progress] = []
        self.over = asyncio.Event()
        self.background = Background(settings)
        self.code = code_digest()
        self._starting = asyncio.Lock()

    async def up(self, names: Iterable[str]) -> None:
        """Bring the named processes, and all that they need, to ready.

        Raises:
            StackError: one of them cannot be started; those that run already are left alone.
        """
        async with self._starting:
            graph = self.plan.chosen(names)
            wanted = [self._keeper(name) for name in graph if name in self.plan.processes]
            bindings.require_free(one.runnable for one in wanted if one.child is None)
            self._publish()
            fresh = {one.name for one in wanted if not one.running}
            await self._reach_all(graph, fresh)

    async def _reach_all(self, graph: Mapping[str, tuple[str, ...]], fresh: set[str]) -> None:
        """Start everything as soon as what it waits for is there.

        A step that an earlier start did waits for nothing, so that on a known home processes load
        beside the servers; they wait for their servers themselves.
        """
        reached = {name: asyncio.Event() for name in graph}

        async def reach(name: str) -> None:
            step = self.plan.steps.get(name)
            if step is None or not step.is_done():
                for need in graph[name]:
                    await reached[need].wait()
            await self._reach(name, patient=name not in fresh)
            reached[name].set()

        try:
            async with asyncio.TaskGroup() as group:
                for name in graph:
                    group.create_task(reach(name), name=f"reach {name}")
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors

    async def _reach(self, name: str, *, patient: bool) -> None:
        step = self.plan.steps.get(name)
        if step is not None:
            self._tell({"step": name, "state": "running"})
            await step.run(self.settings.home)
            self._tell({"step": name, "state": "done"})
            return
        keeper = self.keepers[name]
        keeper.start()
        await keeper.reach(patient=patient)
        if name == "kafka":
            self.background.watch_certificate()

    def _keeper(self, name: str) -> Keeper:
        if name not in self.keepers:
            self.keepers[name] = Keeper(
                self.plan.processes[name],
                self.settings.home,
                policy=RestartPolicy(),
                changed=self._changed,
            )
        return self.keepers[name]

    def known(self, name: str) -> Keeper:
        """Give a process that runs or has run.

        Raises:
            StackError: there is none of that name.
        """
        if name not in self.keepers:
            raise unknown(name, self.keepers)
        return self.keepers[name]

    async def restart(self, name: str) -> None:
        """Stop a process and bring it to ready again."""
        keeper = self.known(name)
        await keeper.stop(grace=GRACE)
        self._publish()
        keeper.start()
        await keeper.reach(patient=False)

    async def roll(self, name: str) -> None:
        """Replace a process by a successor that is ready before the old one leaves.

        Raises:
            StackError: it cannot be replaced so, or its successor did not become ready; the old one stays.
        """
        async with self._starting:
            old = self.known(name)
            successor = rolling.successor_of(old, self.settings.home, changed=self._changed)
            self.leaving[name] = successor
            try:
                await rolling.started(successor)
            except StackError:
                del self.leaving[name]
                raise
            self.keepers[name], self.leaving[name] = successor, old
            self._publish()
            await rolling.left(old)
            del self.leaving[name]

    async def start_canary(self, service: str, code: Path | None, extra: Mapping[str, str]) -> PythonProcess:
        """Start a second version of a service beside the first.

        Args:
            service: the workload's name.
            code: the checkout that it runs from; this one where None.
            extra: settings added to its environment.

        Raises:
            StackError: it cannot be started; then it is gone again.
        """
        if service not in BY_NAME:
            raise unknown(service, BY_NAME)
        listen, metrics = self.settings.ports.extra_pair(list(BY_NAME).index(service))
        environment = Environment(self.settings, code) if code else Environment(self.settings)
        canary = PythonProcess(
            workload=BY_NAME[service],
            environment=environment,
            name=f"{service}-canary",
            listen=listen,
            metrics=metrics,
            version=CANARY,
            extra=extra,
        )
        await self.stop_canary(service)
        bindings.require_free([canary])
        keeper = Keeper(canary, self.settings.home, policy=RestartPolicy(), changed=self._changed)
        self.keepers[canary.name] = keeper
        keeper.start()
        try:
            await keeper.reach(patient=False)
        except StackError:
            await self.stop_canary(service)
            raise
        self._publish()
        return canary

    async def stop_canary(self, service: str) -> None:
        """End a service's second version; nothing happens where there is none."""
        keeper = self.keepers.pop(f"{service}-canary", None)
        if keeper is None:
            return
        self._publish()
        await keeper.stop(grace=GRACE)

    async def stop(self, names: Iterable[str]) -> None:
        """End processes: what uses others first, each group side by side."""
        chosen = [self.known(name) for name in names]
        for group in STOP_ORDER:
            await _stop_all(one for one in chosen if one.name in group)
        rest = set().union(*STOP_ORDER)
        await _stop_all(one for one in chosen if one.name not in rest)

    async def shut_down(self) -> None:
        """End everything, and then this process."""
        await self.background.stop()
        canaries = [name for name in self.keepers if name.endswith("-canary")]
        await _stop_all(self.keepers.pop(name) for name in canaries)
        await _stop_all(self.leaving.values())
        await self.stop(list(self.keepers))
        self.settings.home.endpoints.unlink(missing_ok=True)
        self.settings.home.peers.unlink(missing_ok=True)
        self.over.set()

    async def status(self) -> list[dict[str, object]]:
        """Describe every process; those that should be ready are probed now."""
        keepers = sorted(self.keepers.values(), key=lambda one: (one.runnable.kind, one.name))
        answers = await asyncio.gather(*(_answers(one) for one in keepers))
        sessions = members(frozenset(one.child.pid for one in keepers if one.child))
        return [
            _described(
                one, answered=answered, sessions={s: [m.pid for m in ms] for s, ms in sessions.items()}
            )
            for one, answered in zip(keepers, answers, strict=True)
        ]

    def _changed(self, keeper: Keeper) -> None:
        self._tell(
            {
                "process": keeper.name,
                "kind": keeper.runnable.kind.value,
                "state": keeper.lifecycle.state.value,
                "restarts": keeper.lifecycle.restarts,
            }
        )

    def _tell(self, event: dict[str, object]) -> None:
        for listener in self.listeners:
            listener(event)

    def _publish(self) -> None:
        python = [one.runnable for one in self.keepers.values() if isinstance(one.runnable, PythonProcess)]
        endpoints.write(self.settings.home.endpoints, [one.listed for one in python])
        stable = [one for one in python if one.version == STABLE and one.kind is not Kind.WORKER]
        targets = {one.workload.name: f"ipv4:{one.address}" for one in stable}
        endpoints.write_peers(self.settings.home.peers, targets)


async def _stop_all(keepers: Iterable[Keeper]) -> None:
    await asyncio.gather(*(one.stop(grace=GRACE) for one in keepers))


async def _answers(keeper: Keeper) -> bool:
    return keeper.lifecycle.state is State.READY and await keeper.runnable.ready()


def _described(keeper: Keeper, *, answered: bool, sessions: Mapping[int, list[int]]) -> dict[str, object]:
    lifecycle, child = keeper.lifecycle, keeper.child
    alive = child is not None and lifecycle.alive
    state = lifecycle.state.value
    if lifecycle.state is State.READY and not answered:
        state = "unready"
    pid = child.pid if child is not None and alive else None
    return {
        "name": keeper.name,
        "kind": keeper.runnable.kind.value,
        "pid": pid,
        "address": keeper.runnable.address,
        "state": state,
        "restarts": lifecycle.restarts,
        "rss_bytes": resident_bytes(sessions.get(pid, [])) if pid else 0,
        "last_exit": lifecycle.last_exit,
        "failure": keeper.failure.as_dict() if keeper.failure else None,
        "log": str(keeper.log),
    }


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the error that a person can act on, where there is one: the others follow from it."""
    leaves = list(_leaves(errors))
    return next((one for one in leaves if isinstance(one, StackError)), leaves[0])


def _leaves(errors: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def main() -> int:
    """Take the home's lock, clean up after an earlier supervisor, serve until told to stop."""
    settings = StackSettings.from_environment(os.environ)
    home = settings.home
    ready = int(sys.argv[1]) if len(sys.argv) > 1 else None
    lock = os.open(home.run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        orphans.end_all(home.pids)
        identity = Identity.of(os.getpid())
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(identity.as_dict() if identity else {}).encode(), 0)
        asyncio.run(_serve(settings, ready))
    except BlockingIOError:
        _answer(
            ready,
            StackError(
                f"another supervisor holds {home.root}", fix="run `soma down` first", code=Code.LOCKED
            ),
        )
        return 1
    except StackError as error:
        _answer(ready, error)
        return 1
    return 0


def _answer(descriptor: int | None, error: StackError | None) -> None:
    if descriptor is not None:
        os.write(descriptor, (json.dumps(error.as_dict() if error else {}) + "\n").encode())
        os.close(descriptor)


async def _serve(settings: StackSettings, ready: int | None) -> None:
    supervisor = Supervisor(settings)
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []

    def end() -> None:
        if not ending:
            ending.append(asyncio.create_task(supervisor.shut_down(), name="shut down"))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    async with Control(supervisor):
        _answer(ready, None)
        await supervisor.over.wait()


if __name__ == "__main__":
    sys.exit(main())
