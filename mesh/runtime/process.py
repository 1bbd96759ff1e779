"""One process of the mesh, from `python -m services.<name>` to its last log line.

    # services/<name>/__main__.py
    run(build, Settings)

    # services/<name>/wiring.py
    async def build(process: Process, settings: Settings) -> None: ...

`run` reads these settings, starts the event loop, lets `build` wire the
process, serves, and at SIGTERM drains: not ready, calls in flight end within a
bound, streams within a shorter one, then tasks and connections close in the
reverse order of their making. At SIGUSR1 a successor is there: it serves on until
its callers have gone over, and then does the same. A background task that ends by itself ends the
process with an error; the supervisor starts it again.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, TypeVar

import grpc.aio
from pydantic import ValidationError

from mesh.runtime import collector, eventloop, telemetry
from mesh.runtime import logging as process_logging
from mesh.runtime.accesslog import AccessLog
from mesh.runtime.authentication import TokenVerifier
from mesh.runtime.authorization import Authorization
from mesh.runtime.callstats import CallStats
from mesh.runtime.certificates import Certificates
from mesh.runtime.channels import MeshChannel
from mesh.runtime.decisions import Decider
from mesh.runtime.errors import ConfigurationError, DependencyDown
from mesh.runtime.handover import until_quiet
from mesh.runtime.health import Health
from mesh.runtime.inflight import InFlight
from mesh.runtime.lifecycle import OwnedTaskEnded, Stop, close_task, guard
from mesh.runtime.metrics import Meter
from mesh.runtime.peers import Peers
from mesh.runtime.probes import ProbeServer
from mesh.runtime.server import Registration, Served
from mesh.runtime.serving import Serving
from mesh.runtime.settings import ProcessSettings
from mesh.runtime.tap import TapHub

_log = process_logging.get_logger(__name__)
Entered = TypeVar("Entered")
Build = Callable[["Process"], Awaitable[None]]
OwnSettings = TypeVar("OwnSettings", bound=ProcessSettings)
HAND_OVER: Final = signal.SIGUSR1


class Process:
    """What `build` wires: things entered, services served, tasks owned, checks passed."""

    def __init__(self, settings: ProcessSettings) -> None:
        """Make an empty process; used by `run` and by tests that serve real things."""
        self.settings = settings
        self.certificates = Certificates(settings.pki_dir)
        self.peers = Peers(settings.peers, settings.peers_file)
        self.stats = CallStats()
        self.meter = Meter(self.stats)
        self.health = Health()
        self.inflight = InFlight()
        self.taps = TapHub(process=settings.name, version=settings.version_label)
        self.access_log = AccessLog(process=settings.name)
        self.tracer = telemetry.start(
            process=settings.name,
            version=settings.version_label,
            endpoint=settings.otlp_endpoint,
            ratio=settings.trace_ratio,
        )
        self.stop = Stop()
        self.served: list[Served] = []
        self.reflected: set[str] = set()
        self.verifier: TokenVerifier | None = None
        self.decider: Decider | None = None
        self._stack = AsyncExitStack()
        self._channels: dict[str, MeshChannel] = {}

    async def enter(self, manager: AbstractAsyncContextManager[Entered]) -> Entered:
        """Enter a context manager; it is closed at the end, last entered first."""
        return await self._stack.enter_async_context(manager)

    def serve(
        self,
        register: Registration,
        servicer: object,
        *,
        service: str,
        raw_responses: Collection[str] = (),
        own_contract: bool = True,
        decides_itself: Collection[str] = (),
    ) -> None:
        """Serve a service; methods in `raw_responses` return serialized bytes.

        The policy decides every method with a token before its handler runs, by the scope that it asks
        for; but those in `decides_itself`, where the handler, or whom it passes the token on to, asks
        with attributes of its own.

        `register` is the generated `add_<Service>Servicer_to_server`. A protocol of others (Envoy's)
        has no contract of ours: the workloads that the mesh policy lists may call it.
        """
        self.served.append(
            Served(
                register,
                servicer,
                service,
                raw_responses=frozenset(raw_responses),
                own_contract=own_contract,
                decides_itself=frozenset(decides_itself),
            )
        )
        self.health.services.add(service)

    def reflect(self, *services: str) -> None:
        """Tell of services that other processes serve, too; their modules must be imported."""
        self.reflected.update(services)

    def authenticate_with(self, verifier: TokenVerifier) -> None:
        """Verify bearer tokens with `verifier`; needed where a method's access is ACCESS_TOKEN."""
        self.verifier = verifier

    def decide_with(self, decider: Decider) -> None:
        """Decide calls with `decider`; needed where a method's access is ACCESS_TOKEN."""
        self.decider = decider

    def ready_when(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        """Be ready only while `check` returns; it raises while its subject does not answer."""
        self.health.add(name, check)

    def own(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run `work` until the end of the process; should it end before, the process fails."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        guard(task, self.stop)
        self._stack.push_async_callback(close_task, task)

    def channel(self, workload: str) -> grpc.aio.Channel:
        """Return the channel to a workload of SOMA_PEERS; one each, made at the first asking.

        Raises:
            ConfigurationError: SOMA_PEERS does not name the workload.
        """
        found = self._channels.get(workload)
        if found is None:
            found = self._channels[workload] = MeshChannel(
                target=self.peers.target(workload),
                workload=workload,
                certificates=self.certificates,
                max_message_bytes=self.settings.max_message_bytes,
            )
            self.peers.subscribe(workload, found.move)
            self._stack.push_async_callback(found.close)
        return found

    async def close(self) -> None:
        """Close what was entered and owned, last first."""
        await self._stack.aclose()
        self.access_log.flush()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.shutdown)


async def serve_until_stopped(process: Process, build: Build) -> None:
    """Wire the process, serve, and drain when told to.

    Raises:
        OwnedTaskEnded: a background task ended by itself.
        ConfigurationError, DependencyDown: the process could not start.
    """
    settings = process.settings
    probes = ProbeServer(health=process.health, registry=process.meter.registry)
    if settings.metrics_listen:
        await probes.start(settings.metrics_listen)
    try:
        process.own(process.certificates.watch(), name="certificates")
        process.own(process.peers.watch(), name="peers")
        process.own(process.stats.keep_rates(), name="rates")
        building = asyncio.ensure_future(build(process))
        if await process.stop.unless(building):
            await _serve(process)
    finally:
        await process.close()
        await probes.stop()
    process.stop.raise_failure()


async def _serve(process: Process) -> None:
    settings = process.settings
    async with Serving(process, Authorization.load(settings.authorization_file)):
        process.own(process.health.watch(), name="health")
        _log.info("serving", listen=settings.listen, services=len(process.served))
        await process.stop.wait()
        if process.stop.handing_over:
            _log.info("handing over", in_flight=len(process.inflight.calls))
            await until_quiet(
                process.stop,
                stats=process.stats,
                inflight=process.inflight,
                seconds=settings.handover_seconds,
            )
        process.health.drain()
        _log.info("draining", in_flight=len(process.inflight.calls))


def run(build: Callable[[Process, OwnSettings], Awaitable[None]], settings: type[OwnSettings]) -> None:
    """Be the process; returns never. Exit code 0 after a drain, 1 after a failure."""
    try:
        loaded = settings.from_environment()
    except ValidationError as error:
        names = ", ".join(
            f"SOMA_{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}"
            for each in error.errors(include_input=False)
        )
        sys.exit(f"settings: {names}")
    process_logging.configure(process=loaded.name, level=loaded.log_level)
    sys.exit(eventloop.run(_main(lambda process: build(process, loaded), loaded)))


def _settled(build: Build) -> Build:
    async def wire(process: Process) -> None:
        await build(process)
        collector.settle()

    return wire


async def _main(build: Build, settings: ProcessSettings) -> int:
    try:
        process = Process(settings)
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, process.stop.request)
        loop.add_signal_handler(HAND_OVER, process.stop.hand_over)
        await serve_until_stopped(process, _settled(build))
    except (ConfigurationError, DependencyDown) as error:
        _log.error("cannot start", cause=str(error))
        return 1
    except OwnedTaskEnded as error:
        _log.error("background task ended", task=error.name, exc_info=error.__cause__)
        return 1
    except Exception as error:  # noqa: BLE001 - the last place that can log it
        _log.error("process failed", exc_info=error)
        return 1
    _log.info("stopped")
    return 0
