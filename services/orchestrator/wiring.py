"""Builds the orchestrator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from soma.orchestrator.v1 import service_pb2_grpc as rpc
from soma.slm.v1 import events_pb2 as slm_pb

from mesh.events.bus import Bus
from mesh.events.consumer import Consumer
from mesh.policy.wiring import join_policy
from mesh.runtime.clock import SystemClock
from mesh.runtime.ids import new_id
from mesh.runtime.process import Process
from mesh.storage.database import Database
from mesh.trust.wiring import join_trust
from mesh.turnlog import Admission, Leases, Link, LogReader
from services.orchestrator.catalogue import Catalogue
from services.orchestrator.completion import Completion
from services.orchestrator.config import Settings
from services.orchestrator.handlers.personas import PersonasServicer
from services.orchestrator.handlers.sessions import SessionsServicer
from services.orchestrator.handlers.turns import RAW_RESPONSES, TurnsServicer
from services.orchestrator.intake import Intake
from services.orchestrator.reaper import Reaper
from services.orchestrator.recall import Recall
from services.orchestrator.sessions import Sessions
from services.orchestrator.streaming import Streaming
from services.orchestrator.tokens import TokenCounter
from services.orchestrator.turns import Turns


async def build(process: Process, settings: Settings) -> None:
    """Enter what the orchestrator needs, and serve."""
    clock = SystemClock()
    database = await process.enter(
        Database.open(
            settings.postgres_url, name=settings.name, smallest=4, largest=settings.pool_size,
            start_seconds=settings.start_seconds,
        )
    )  # fmt: skip
    bus = await process.enter(Bus.open(settings, database))
    link = await process.enter(Link.open(settings.redis_url, start_seconds=settings.start_seconds))
    reader = await process.enter(_reading(link, most=settings.most_streams))
    join_trust(process)
    decisions = join_policy(process)
    leases = Leases(link, owner=new_id("orc"))
    admission = Admission(link, waiting_per_slot=settings.waiting_per_slot)
    completion = Completion(database=database, bus=bus, leases=leases, clock=clock)
    turns = Turns(database=database, leases=leases, reader=reader, completion=completion)
    sessions = Sessions(database=database, bus=bus, decisions=decisions, turns=turns, clock=clock)
    intake = Intake(
        database=database,
        bus=bus,
        decisions=decisions,
        recall=Recall(
            process.channel("memory"), passages=settings.passages, passages_read=settings.passages_read,
            memories=settings.memories, seconds=settings.recall_seconds,
        ),
        catalogue=Catalogue(process.channel("slm")),
        tokens=TokenCounter.load(settings.model_repository),
        leases=leases,
        reader=reader,
        admission=admission,
        clock=clock,
        turn_seconds=settings.turn_seconds,
        at_once=settings.intake_at_once,
        history_turns=settings.history_turns,
    )  # fmt: skip
    streaming = Streaming(
        database=database, reader=reader, admission=admission, ping_seconds=settings.ping_seconds
    )
    servicer = TurnsServicer(
        intake=intake, streaming=streaming, turns=turns, sessions=sessions, decisions=decisions
    )
    process.serve(
        rpc.add_SessionsServicer_to_server,
        SessionsServicer(sessions),
        service="soma.orchestrator.v1.Sessions",
        decides_itself=("CreateSession", "DeleteSession"),
    )
    process.serve(
        rpc.add_TurnsServicer_to_server, servicer, service="soma.orchestrator.v1.Turns",
        raw_responses=RAW_RESPONSES, decides_itself=("CreateTurn", "StreamTurn", "CancelTurn"),
    )  # fmt: skip
    process.serve(
        rpc.add_PersonasServicer_to_server, PersonasServicer(), service="soma.orchestrator.v1.Personas"
    )
    consumer = Consumer(
        settings,
        topic="slm.responses",
        group="orchestrator",
        message_type=slm_pb.GenerationResponse,
        handler=completion.handle,
        session_seconds=2.0,
        tracer=process.tracer,
    )
    reaper = Reaper(
        database=database, leases=leases, turns=turns, bus=bus, clock=clock,
        turn_seconds=settings.turn_seconds,
    )  # fmt: skip
    process.own(consumer.run(), name="completions")
    process.own(reaper.run(), name="reaper")
    process.ready_when("postgres", database.ping)
    process.ready_when("redis", link.ping)
    process.ready_when("kafka", consumer.ping)


@asynccontextmanager
async def _reading(link: Link, *, most: int) -> AsyncIterator[LogReader]:
    reader = LogReader(link, most=most)
    try:
        yield reader
    finally:
        reader.close()
