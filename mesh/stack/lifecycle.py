"""When a process that died is started again, and when it is given up: pure values, no clock.

PENDING -> STARTING -> READY
              |          |
              +-- died --+--> BACKOFF -> STARTING ...
                              FAILED      (too many starts in vain)
any -> STOPPING -> STOPPED
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """Where a process stands."""

    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How often and how soon a dead process is started again.

    Attributes:
        first: seconds before the first restart.
        longest: no wait is longer.
        window: seconds for which a death counts.
        limit: after as many starts in vain within the window it is given up.
    """

    first: float = 0.1
    longest: float = 10.0
    window: float = 120.0
    limit: int = 10

    def delay(self, deaths: int) -> float:
        """Give the wait after that many deaths within the window: doubled each time."""
        return min(self.longest, self.first * 2.0 ** max(0, deaths - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """A process's history, as far as decisions need it.

    Attributes:
        state: where it stands.
        deaths: when it died unasked, within the window, oldest first.
        vain: how many starts in a row ended before it was ready.
        restarts: how often it was started again after a death, ever.
        last_exit: the code or the negative signal of its last death.
    """

    state: State = State.PENDING
    deaths: tuple[float, ...] = ()
    vain: int = 0
    restarts: int = 0
    last_exit: int | None = None

    @property
    def alive(self) -> bool:
        """Whether a process should exist."""
        return self.state in (State.STARTING, State.READY)

    def spawned(self) -> Lifecycle:
        """It was started; a start after a death counts as a restart."""
        again = self.state is State.BACKOFF
        return replace(self, state=State.STARTING, restarts=self.restarts + again)

    def became_ready(self) -> Lifecycle:
        """It answered its probe: it is worth another start, whenever it dies."""
        return replace(self, state=State.READY, vain=0) if self.state is State.STARTING else self

    def died(self, *, code: int, now: float, policy: RestartPolicy, blameless: bool = False) -> Lifecycle:
        """It ended: as asked, or unasked and then to be started again or given up.

        Given up is who cannot start. Who comes up each time is started again, with growing pauses, however
        often it dies: what kills it may end, and whatever needs it waits for nothing but its start.

        Args:
            code: its exit code, or the signal as a negative number.
            now: seconds on any steady clock.
            policy: how often and how soon it is started again.
            blameless: its surroundings ended it (a full disk): it is never given up for that.
        """
        if self.state in (State.STOPPING, State.STOPPED):
            return replace(self, state=State.STOPPED, last_exit=code)
        recent = (*(at for at in self.deaths if now - at < policy.window), now)
        if blameless:
            return replace(self.waiting(now=now, policy=policy), last_exit=code)
        vain = self.vain + (self.state is State.STARTING)
        state = State.FAILED if min(vain, len(recent)) >= policy.limit else State.BACKOFF
        return replace(self, state=state, deaths=recent, vain=vain, last_exit=code)

    def waiting(self, *, now: float, policy: RestartPolicy) -> Lifecycle:
        """It could not be started, or live, for a reason that passes: the pauses grow, and that is all."""
        if self.state in (State.STOPPING, State.STOPPED):
            return self
        recent = (*(at for at in self.deaths if now - at < policy.window), now)
        return replace(self, state=State.BACKOFF, deaths=recent[1 - policy.limit :])

    def stopping(self) -> Lifecycle:
        """Somebody asked it to end."""
        return replace(self, state=State.STOPPING)

    def stopped(self) -> Lifecycle:
        """It has ended as asked, or had none to end."""
        return replace(self, state=State.STOPPED)

    def revived(self) -> Lifecycle:
        """Somebody asked for a start: forget the deaths."""
        return replace(self, state=State.PENDING, deaths=(), vain=0)
