"""Builds the policy service."""

from datetime import timedelta

from soma.policy.v1 import service_pb2_grpc

from mesh.policy import BundleStore, catalogue
from mesh.policy.decisions import Decisions as Decider
from mesh.policy.signature import Signer, Verifier
from mesh.runtime.clock import SystemClock
from mesh.runtime.process import Process
from mesh.storage import Database
from mesh.trust.wiring import join_trust
from services.policy.config import Settings
from services.policy.domain.keeper import Keeper
from services.policy.domain.publisher import Publisher
from services.policy.domain.rule_set import RELEASE, release_rules
from services.policy.events import AuditTrail
from services.policy.handlers.bundles import Bundles
from services.policy.handlers.decisions import Decisions
from services.policy.store import News, PostgresRuleSets


async def build(process: Process, settings: Settings) -> None:
    """Wire the process."""
    clock = SystemClock()
    signer = Signer.open(settings.signing_key_file, settings.public_key_file)
    store = BundleStore(verifier=lambda: Verifier.read(settings.public_key_file), clock=clock)
    valid = timedelta(seconds=settings.policy_valid_seconds)
    publisher = Publisher(signer=signer, store=store, clock=clock, valid=valid)
    database = await process.enter(
        Database.open(
            settings.postgres_url, name=settings.name, largest=4, start_seconds=settings.start_seconds
        )
    )
    rule_sets = PostgresRuleSets(database, await process.enter(News(settings.postgres_url)))
    await rule_sets.install(release_rules(catalogue.scopes()), origin=RELEASE)
    keeper = Keeper(store=rule_sets, publisher=publisher, sign_every=settings.policy_sign_every_seconds)
    process.own(keeper.run(), name="rules")
    process.ready_when("policy", store.ready)
    process.ready_when("postgres", database.ping)
    join_trust(process)
    process.decide_with(Decider(store))
    process.serve(
        service_pb2_grpc.add_BundlesServicer_to_server,
        Bundles(publisher=publisher, heartbeat=settings.policy_heartbeat_seconds),
        service="soma.policy.v1.Bundles",
    )
    process.serve(
        service_pb2_grpc.add_DecisionsServicer_to_server,
        Decisions(store=store, trail=AuditTrail(database=database, clock=clock)),
        service="soma.policy.v1.Decisions",
    )
