"""Builds the slm worker."""

from soma.slm.v1 import events_pb2 as slm_pb

from mesh.events.bus import Bus
from mesh.events.consumer import Consumer
from mesh.inference.addresses import AddressPolicy
from mesh.inference.http import ProviderHttp
from mesh.inference.triton import Triton
from mesh.runtime.ids import new_id
from mesh.runtime.process import Process
from mesh.turnlog import Leases, Link, Signals
from workers.slm.backends import Backends
from workers.slm.config import Settings
from workers.slm.credentials import Credentials
from workers.slm.crew import Crew

_MOST_WAITING = 256


async def build(process: Process, settings: Settings) -> None:
    """Enter what the worker needs, in the order in which it must be there."""
    bus = await process.enter(Bus.open(settings))
    link = await process.enter(Link.open(settings.redis_url, start_seconds=settings.start_seconds))
    triton = await process.enter(Triton.open(settings.triton_url))
    policy = AddressPolicy(allow_loopback=settings.provider_loopback, allow_private=settings.provider_private)
    http = await process.enter(ProviderHttp.open(policy))
    leases = Leases(link, owner=new_id("wrk"))
    credentials = Credentials(process.channel("slm"))
    backends = Backends(triton=triton, http=http, key_of=credentials.key_of)
    crew = Crew(settings, leases=leases, backends=backends, bus=bus, tracer=process.tracer)
    consumer = Consumer(
        settings,
        topic="slm.requests",
        group="worker-slm",
        message_type=slm_pb.GenerationRequest,
        handler=crew.handle,
        max_in_flight=_MOST_WAITING,
        tracer=process.tracer,
    )
    process.own(crew.beat(), name="leases")
    process.own(Signals(settings.redis_url, crew.heard).run(), name="signals")
    process.own(consumer.run(), name="requests")
    await process.enter(crew.on_duty())
    process.ready_when("redis", link.ping)
    process.ready_when("kafka", consumer.ping)
    process.ready_when("triton", triton.ready)
