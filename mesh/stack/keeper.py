"""Keeps one process running: prepares, starts, waits until it is ready, starts it again."""

from __future__ import annotations

import asyncio
import errno
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from mesh.stack import orphans, overrides
from mesh.stack.child import Child, tail
from mesh.stack.errors import Code, StackError, failure, storage_failure
from mesh.stack.home import Home
from mesh.stack.lifecycle import Lifecycle, RestartPolicy, State
from mesh.stack.servers.server import Runnable

START_LIMIT = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 0.03, 0.25
NO_ROOM = 1 << 20


class Keeper:
    """One process and its history."""

    def __init__(
        self,
        runnable: Runnable,
        home: Home,
        *,
        policy: RestartPolicy,
        changed: Callable[[Keeper], None],
        pid_name: str = "",
    ) -> None:
        """Start nothing yet; `changed` is called after every change of state.

        `pid_name` names the pid file, where two processes of one name are there for a while.
        """
        self.runnable = runnable
        self.lifecycle = Lifecycle()
        self.child: Child | None = None
        self.failure: StackError | None = None
        self._home = home
        self.pid_name = pid_name or runnable.name
        self._policy = policy
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()

    @property
    def name(self) -> str:
        """The process's name."""
        return self.runnable.name

    @property
    def running(self) -> bool:
        """Whether somebody takes care of it."""
        return self._task is not None and not self._task.done()

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._home.log_of(self.name)

    def start(self) -> None:
        """Begin to keep it; nothing happens where it is kept already."""
        if self.running:
            return
        self.lifecycle = self.lifecycle.revived()
        self.failure = None
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def reach(self, *, patient: bool) -> None:
        """Wait until it is ready.

        Args:
            patient: let it die and be started again, until it is given up or wants room on a disk.

        Raises:
            StackError: it died, was given up, or could not be started.
        """
        async with self._moved:
            while self.lifecycle.state is not State.READY:
                if self.failure is not None and not (
                    patient and self.running and self.failure.code is not Code.DISK_FULL
                ):
                    raise self.failure
                if not self.running:
                    raise self._death()
                await self._moved.wait()

    async def stop(self, *, grace: float, number: signal.Signals | None = None) -> None:
        """End it in order, by its stop signal or another one, and stop keeping it."""
        number = number or self.runnable.stop_signal
        self.lifecycle = self.lifecycle.stopping()
        await self._tell()
        if self.child is not None:
            await self.child.stop(number, grace=grace)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self.child is not None:
            await self.child.stop(number, grace=grace)
            self.child = None
        orphans.forget(self._home.pids, self.pid_name)
        self.lifecycle = self.lifecycle.stopped()
        await self._tell()

    async def _keep(self) -> None:
        try:
            while True:
                await self._live()
                if self.lifecycle.state is not State.BACKOFF:
                    break
                await self._tell()
                await asyncio.sleep(self._policy.delay(len(self.lifecycle.deaths)))
        finally:
            self._task = None
            await self._tell()

    async def _live(self) -> None:
        """Let it live once, and judge its end.

        What ended for want of room is tried again for as long as it takes: that is no fault of the
        program, it passes when somebody frees some space, and nobody should have to do more than that.
        """
        try:
            code = await self._once()
        except StackError as error:
            self._cannot(error)
            return
        except OSError as error:
            known = storage_failure(error, self._home.root)
            if known is None:
                raise
            self._cannot(known)
            return
        full = self._disk_full()
        self.lifecycle = self.lifecycle.died(
            code=code, now=time.monotonic(), policy=self._policy, blameless=full is not None
        )
        if self.lifecycle.state is State.BACKOFF:
            self.failure = full or self._death()
        elif self.lifecycle.state is State.FAILED:
            self.failure = self._given_up()

    def _cannot(self, error: StackError) -> None:
        self.failure = error
        if error.code is Code.DISK_FULL:
            self.lifecycle = self.lifecycle.waiting(now=time.monotonic(), policy=self._policy)
        else:
            self.lifecycle = Lifecycle(state=State.FAILED, restarts=self.lifecycle.restarts)

    def _disk_full(self) -> StackError | None:
        """Say so where it died for want of room: it wrote that, or there was no room to write it."""
        said = self._death()
        if said.code is Code.DISK_FULL:
            return said
        places = (self._home.log, self._home.data(self.name))
        full = [one for one in places if one.exists() and shutil.disk_usage(one).free < NO_ROOM]
        return storage_failure(OSError(errno.ENOSPC, ""), full[0]) if full else None

    async def _once(self) -> int:
        await self.runnable.prepare()
        launch = overrides.applied(self.runnable.launch(), self._home.overrides, self.name)
        child = await Child.spawn(launch, self.log)
        self.child = child
        if child.identity is not None:
            try:
                orphans.record(self._home.pids, self.pid_name, child.identity)
            except OSError:
                # Unrecorded it would outlive a crash of ours; it has not begun to work yet.
                await child.stop(signal.SIGKILL, grace=1.0)
                raise
        self.lifecycle = self.lifecycle.spawned()
        await self._tell()
        watching = asyncio.create_task(self._watch(), name=f"watch {self.name}")
        try:
            return await child.ended()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        pause, begun = FIRST_PAUSE, time.monotonic()
        while not await self.runnable.ready():
            if time.monotonic() - begun > START_LIMIT and self.child is not None:
                self.failure = self._late()
                await self.child.stop(self.runnable.stop_signal, grace=1.0)
                return
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.2)
        self.lifecycle = self.lifecycle.became_ready()
        self.failure = None
        await self._tell()

    async def _tell(self) -> None:
        self._changed(self)
        async with self._moved:
            self._moved.notify_all()

    def _death(self) -> StackError:
        code = self.lifecycle.last_exit
        how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        return failure(
            f"{self.name} ended {how} while it started",
            said=self._said(),
            fix=f"read {self.log}",
            code=Code.DIED_IN_START,
        )

    def _given_up(self) -> StackError:
        return failure(
            f"{self.name} was started {self.lifecycle.vain} times in vain and is left alone",
            said=self._said(),
            fix=f"read {self.log}, then `soma restart {self.name}`",
            code=Code.GAVE_UP,
        )

    def _late(self) -> StackError:
        return failure(
            f"{self.name} was not ready within {START_LIMIT:.0f} s",
            said=self._said(),
            fix=f"read {self.log}",
            code=Code.NOT_READY_IN_TIME,
        )

    def _said(self) -> str:
        """What it wrote at last: enough to hold the reason, not so much as to hold an older one."""
        return "\n".join(tail(self.log, 12))
