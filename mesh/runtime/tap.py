"""A live copy of the calls that end, for operators: bounded, redacted, free while nobody listens."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from google.protobuf import duration_pb2, timestamp_pb2
from soma.mesh.v1 import resources_pb2

from mesh.runtime.context import CallContext
from mesh.runtime.hooks import Outcome

_HELD: Final = 256
_LISTENERS: Final = 8


class Listener:
    """One reader; what it is too slow for is dropped and counted."""

    def __init__(self, method_prefix: str) -> None:
        self.records: asyncio.Queue[resources_pb2.TapRecord] = asyncio.Queue(_HELD)
        self.method_prefix = method_prefix
        self.missed = 0

    def offer(self, record: resources_pb2.TapRecord) -> None:
        """Hand a record over, or count it as missed."""
        try:
            self.records.put_nowait(record)
        except asyncio.QueueFull:
            self.missed += 1


class TapHub:
    """Copies call records to listeners."""

    def __init__(self, *, process: str, version: str) -> None:
        """Name the process in each record."""
        self._process = process
        self._version = version
        self._listeners: set[Listener] = set()

    @property
    def listening(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    @contextlib.contextmanager
    def listen(self, method_prefix: str) -> Iterator[Listener]:
        """Register a listener for the block.

        Raises:
            OverflowError: too many listen already.
        """
        if len(self._listeners) >= _LISTENERS:
            raise OverflowError(f"{_LISTENERS} taps are open already")
        listener = Listener(method_prefix)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def publish(self, call: CallContext, outcome: Outcome) -> None:
        """Copy one finished call."""
        method = call.method.removeprefix("/")
        wanted = [each for each in self._listeners if method.startswith(each.method_prefix)]
        if not wanted:
            return
        now = timestamp_pb2.Timestamp()
        now.GetCurrentTime()
        duration = duration_pb2.Duration()
        duration.FromNanoseconds(int(outcome.seconds * 1e9))
        record = resources_pb2.TapRecord(
            time=now,
            process=self._process,
            version=self._version,
            caller=call.caller,
            method=method,
            tenant=call.tenant,
            request_id=call.request_id,
            code=outcome.code.name,
            reason=outcome.reason,
            duration=duration,
        )
        for listener in wanted:
            listener.offer(record)
