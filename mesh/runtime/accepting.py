"""A gRPC server that takes calls in as they come, several of a method at once.

grpc.aio keeps one request for the next call of each method, and waits for all of these requests together:
every call costs work for every method that is served, and the next call of a method is taken in some five
rounds of the event loop later. Where the loop is busy with streams, that is the bound on all other calls: a
loop with rounds of 2.5 ms takes in 96 calls a second, however short they are.

Here each method has a few requests of its own, each with a task that begins the call and asks for the next
one. Calls are begun and answered by grpc.aio as ever. Names of grpc's that it does not publish are used here
and nowhere else; `tests/integration/runtime/test_accepting.py` sees them work with the pinned version.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from grpc._cython import cygrpc
from grpc.aio import _server as grpc_server

from mesh.runtime.hooks import Handler
from mesh.runtime.logging import get_logger

AT_ONCE: Final = 8
"""Calls of one method that may come in one round of the loop; each costs some 2 KB of memory."""
_log = get_logger(__name__)


class AcceptingServer(grpc_server.Server):
    """A `grpc.aio.Server` for registered methods, without interceptors of grpc's."""

    def __init__(self, *, options: Sequence[tuple[str, Any]], most_calls: int) -> None:
        """Take channel arguments, and the number of calls past which the answer is RESOURCE_EXHAUSTED."""
        self._loop = asyncio.get_running_loop()
        self._server = _Core(self._loop, options=tuple(options), most_calls=most_calls)


class _Known:
    """Stands where grpc.aio looks a call's handler up: it is known before the call comes."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def resolve_handler(self, _details: Any) -> Handler:
        return self._handler


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # it has no types
    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, options: tuple[tuple[str, Any], ...], most_calls: int
    ) -> None:
        super().__init__(loop, None, (), (), options, None)
        self._events = loop
        self._most_calls = most_calls
        self._handlers: dict[str, Handler] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._accepting: set[asyncio.Task[None]] = set()

    def add_registered_method_handlers(self, handlers: dict[str, Handler]) -> None:
        super().add_registered_method_handlers(handlers)
        self._handlers |= handlers

    def _make_request_call_future(self, method: bytes | None) -> Any:
        """Ask for calls here; grpc's own loop gets a future that tells of none.

        None stands for methods that nobody registered, which are left to it: it refuses them.
        """
        if method is None:
            return super()._make_request_call_future(None)
        name = method.decode()
        resolver = _Known(self._handlers[name])
        for _ in range(AT_ONCE):
            task = self._events.create_task(self._accept(method, name, resolver))
            self._accepting.add(task)
            task.add_done_callback(self._ended)
        return self._events.create_future()

    async def _accept(self, method: bytes, name: str, resolver: _Known) -> None:
        while self.is_running():
            try:
                state = await self._request_registered_call(method)
            except cygrpc._RequestCallError:  # noqa: SLF001  (the server stops, or the call is gone again)
                continue
            full = len(self._calls) >= self._most_calls
            answering = cygrpc._handle_rpc(name, resolver, (), state, self._events, full)  # noqa: SLF001
            watched = cygrpc._schedule_rpc_coro(answering, state, self._events, name)  # noqa: SLF001
            call = self._events.create_task(watched)
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._accepting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("no calls are taken in any more", exc_info=error)
            self._events.create_task(self.shutdown(None))
