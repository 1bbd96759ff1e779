"""Replacing a process while its callers go on: a successor beside it first, then its own end.

Services and workers get a successor at their other pair of ports; who calls them learns of it from
`run/peers.json`, the edge from the control plane, and the old process serves on until nobody calls it
any more (`mesh.runtime.handover`). Two Envoys share the edge's ports (SO_REUSEPORT): the old one says to
its connections that they are to come again, closes its listeners, and ends when its streams have ended.
The control plane has one address, which proxies are started with, and traffic does not need it: it is
simply restarted, as are the servers that hold data.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from mesh.stack import bindings, overrides
from mesh.stack.errors import Code, StackError
from mesh.stack.home import Home
from mesh.stack.keeper import Keeper
from mesh.stack.lifecycle import RestartPolicy
from mesh.stack.servers.server import Runnable

LEAVE_SECONDS = 60.0
STOP_SECONDS = 3.5
NEXT = "-next"


@runtime_checkable
class Replaceable(Runnable, Protocol):
    """A process that another one of its kind can run beside."""

    @property
    def leave_signal(self) -> signal.Signals:
        """What asks it to end once a successor has its place."""

    def twin(self) -> Runnable:
        """Describe the successor."""

    async def retire(self) -> None:
        """Send its clients to the successor; return when they have gone."""


def replaceable(runnable: Runnable) -> Replaceable | None:
    """Give a process as one that can be rolled; None where it is the only one of its kind."""
    return runnable if isinstance(runnable, Replaceable) and runnable.name != "xds" else None


def successor_of(old: Keeper, home: Home, *, changed: Callable[[Keeper], None]) -> Keeper:
    """Make the keeper of a successor; nothing runs yet.

    Raises:
        StackError: there can be only one, the old one does not run, or the other ports are taken.
    """
    runnable = replaceable(old.runnable)
    advertised = overrides.read(home.overrides, old.name).get(overrides.ADVERTISE)
    if runnable is None:
        raise _cannot(old, "there can be only one of it")
    if not old.lifecycle.alive:
        raise _cannot(old, "it does not run")
    if advertised:
        raise _cannot(old, f"the edge reaches it at {advertised}")
    twin = runnable.twin()
    own = frozenset(runnable.ports.values())
    bindings.require_free([twin], shared=own)
    pid_name = old.name if old.pid_name.endswith(NEXT) else f"{old.name}{NEXT}"
    return Keeper(twin, home, policy=RestartPolicy(), changed=changed, pid_name=pid_name)


async def started(successor: Keeper) -> None:
    """Bring a successor to ready.

    Raises:
        StackError: it did not become ready; it is gone again.
    """
    successor.start()
    try:
        await successor.reach(patient=False)
    except BaseException:
        await successor.stop(grace=STOP_SECONDS)
        raise


async def left(old: Keeper) -> None:
    """Let the old process send its clients away, and end."""
    runnable = replaceable(old.runnable)
    if runnable is not None:
        await runnable.retire()
        await old.stop(grace=LEAVE_SECONDS, number=runnable.leave_signal)


def _cannot(old: Keeper, why: str) -> StackError:
    return StackError(
        f"{old.name} cannot be replaced while it serves: {why}",
        fix=f"use `soma restart {old.name}`",
        code=Code.BAD_REQUEST,
    )
