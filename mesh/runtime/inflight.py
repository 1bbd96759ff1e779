"""The calls that run now: who waits for them at a drain, and which streams are cut after their grace."""

import asyncio

from mesh.runtime.context import CallContext


class InFlight:
    """Every running call, and the tasks of those that stream."""

    def __init__(self) -> None:
        self.calls: set[CallContext] = set()
        self._streams: dict[asyncio.Task[object], None] = {}
        self._cut: set[asyncio.Task[object]] = set()

    def open_stream(self) -> None:
        """Note the running task as one that streams."""
        task = asyncio.current_task()
        if task is not None:
            self._streams[task] = None

    def close_stream(self) -> None:
        """Forget the running task."""
        task = asyncio.current_task()
        if task is not None:
            self._streams.pop(task, None)
            self._cut.discard(task)

    def cut_streams(self) -> int:
        """Stop every stream that still runs; its client is told to come again elsewhere."""
        streams = tuple(self._streams)
        for task in streams:
            self._cut.add(task)
            task.cancel()
        return len(streams)

    def cut_off(self) -> bool:
        """Whether the running task was cut by `cut_streams`."""
        return asyncio.current_task() in self._cut
