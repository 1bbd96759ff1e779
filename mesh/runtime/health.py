"""Whether this process can serve: asked of its dependencies, told by grpc.health.v1 and HTTP.

A process is ready when every check of `ready_when` passed. It stops being ready
when a check fails twice in a row, and for good when it drains.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.runtime.errors import NotFound
from mesh.runtime.hooks import ServicerContext
from mesh.runtime.logging import get_logger

_log = get_logger(__name__)
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_CHECK_SECONDS: Final = 2.0
_WHILE_STARTING: Final = 0.1
_WHILE_UNREADY: Final = 0.5
_WHILE_READY: Final = 3.0
_FAILURES_BELIEVED: Final = 2
Check = Callable[[], Awaitable[None]]


class Health:
    """The readiness of one process."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._failing: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        self._asked = False
        self._draining = False
        self._ready = False
        self._was_ready = False
        self._changed = asyncio.Event()
        self.services: set[str] = {""}

    @property
    def ready(self) -> bool:
        """Whether calls are welcome."""
        return self._ready and not self._draining

    @property
    def draining(self) -> bool:
        """Whether this process said for good that it takes no more calls."""
        return self._draining

    def explain(self) -> dict[str, str]:
        """Return what stands between this process and being ready, by name of the check."""
        if self._draining:
            return {"process": "draining"}
        if not self._asked:
            return {"process": "starting"}
        return dict(self._failing)

    def add(self, name: str, check: Check) -> None:
        """Make readiness depend on `check`, which raises while its subject does not answer."""
        self._checks[name] = check

    def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        self._draining = True
        self._tell()

    async def watch(self) -> None:
        """Ask the dependencies for ever."""
        while not self._draining:
            await asyncio.gather(*(self._ask(name) for name in tuple(self._checks)))
            self._asked = True
            ready = not any(
                count >= (_FAILURES_BELIEVED if self._ready else 1) for count in self._failures.values()
            )
            if ready != self._ready:
                self._ready = ready
                _log.info("ready" if ready else "not ready", failing=self._failing or None)
                self._was_ready = self._was_ready or ready
                self._tell()
            await asyncio.sleep(self._pause())

    async def changes(self) -> AsyncIterator[bool]:
        """Yield the readiness now and after each change."""
        while True:
            changed = self._changed
            yield self.ready
            await changed.wait()

    def _pause(self) -> float:
        if self._failing:
            return _WHILE_UNREADY if self._was_ready else _WHILE_STARTING
        return _WHILE_READY

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _ask(self, name: str) -> None:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._checks[name]()
        except Exception as error:  # noqa: BLE001 - whatever a check raises means "not ready"
            cause = f"{type(error).__name__}: {error}".removesuffix(": ")
            self._failures[name] = self._failures.get(name, 0) + 1
            if self._failing.get(name) is None and self._was_ready:
                _log.warning("dependency does not answer", dependency=name, cause=cause)
            self._failing[name] = cause
        else:
            self._failures[name] = 0
            if self._failing.pop(name, None) is not None and self._was_ready:
                _log.info("dependency answers again", dependency=name)


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped upstream
    """grpc.health.v1 over `Health`; every served service shares its state."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Return the state of a service of this process."""
        if request.service not in self._health.services:
            raise NotFound("NOT_FOUND", f"service {request.service} is not served here")
        return _answer(ready=self._health.ready)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Stream the state of a service, now and when it changes."""
        if request.service not in self._health.services:
            yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            await asyncio.Event().wait()
        told: bool | None = None
        async for ready in self._health.changes():
            if ready is not told:
                told = ready
                yield _answer(ready=ready)


def _answer(*, ready: bool) -> health_pb2.HealthCheckResponse:
    return health_pb2.HealthCheckResponse(status=SERVING if ready else NOT_SERVING)
