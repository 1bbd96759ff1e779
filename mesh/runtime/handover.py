"""Giving this process's place to a successor that is ready: serve on until nobody calls any more.

The successor listens elsewhere and callers learn of it within moments. A server that shuts down while
calls still arrive answers them with CANCELLED (gRPC core does, between its shutdown and the moment at
which the client sees GOAWAY), so the old process ends only after it has been quiet for a while.
"""

import time
from typing import Final

from soma.options.v1 import options_pb2

from mesh.runtime.callstats import CallStats
from mesh.runtime.contract import method_by_path
from mesh.runtime.inflight import InFlight
from mesh.runtime.lifecycle import Stop
from mesh.runtime.peers import LOOK_SECONDS

QUIET_SECONDS: Final = 4 * LOOK_SECONDS
"""No call for so long: whoever calls has looked where the successor is, more than once."""
_LOOK: Final = 0.1
_WATCHERS: Final = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.channelz.v1.Channelz",
        "soma.mesh.v1.Introspection",
    }
)


async def until_quiet(stop: Stop, *, stats: CallStats, inflight: InFlight, seconds: float) -> None:
    """Wait until no call runs and none has come for `QUIET_SECONDS`; at most `seconds`.

    A request to stop at once ends the wait.
    """
    begun = quiet_since = time.monotonic()
    before = _served(stats)
    while (now := time.monotonic()) - begun < seconds:
        served = _served(stats)
        if served != before or _running(inflight):
            before, quiet_since = served, now
        if now - quiet_since >= QUIET_SECONDS or await stop.at_once(within=_LOOK):
            return


def _served(stats: CallStats) -> int:
    return sum(series.count for series in stats.series() if series.service not in _WATCHERS)


def _running(inflight: InFlight) -> int:
    return sum(not follows(call.method) for call in inflight.calls)


def follows(path: str) -> bool:
    """Whether calls of a method last as long as the process: its reader opens the next one by itself."""
    if path[1:].partition("/")[0] in _WATCHERS:
        return True
    contract = method_by_path(path)
    if contract is None:
        return False
    return contract.response_streaming and contract.access != options_pb2.ACCESS_TOKEN
