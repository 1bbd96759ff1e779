"""One line a call: who, what, how it ended, how long; never a body, never a token."""

from mesh.runtime.accesslog import AccessLog
from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.hooks import NOTHING, Hooks, Outcome
from mesh.runtime.tap import TapHub

_PROBES = frozenset({"grpc.health.v1.Health"})


class AccessLogging:
    """Writes the access log and feeds whoever taps live calls."""

    def __init__(self, log: AccessLog, taps: TapHub) -> None:
        """Write to `log`; copy to `taps` while somebody listens."""
        self._log = log
        self._taps = taps

    def bind(self, contract: MethodContract) -> Hooks:
        """Write at the end of each call; health probes are not worth a line."""
        if contract.service in _PROBES:
            return NOTHING
        write = self._log.writer(contract)
        taps = self._taps

        def finish(call: CallContext, outcome: Outcome) -> None:
            write(call, outcome)
            if taps.listening:
                taps.publish(call, outcome)

        return Hooks(finish=finish)
