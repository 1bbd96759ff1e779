"""The signed bundle reaches whoever decides: at once, after a change, after a crash of the service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import grpc.aio
import pytest
from soma.policy.v1 import service_pb2 as pb
from soma.policy.v1 import service_pb2_grpc as rpc

from mesh.policy import BundleStore, Effect, PolicyWatcher, Rule, catalogue
from mesh.policy.signature import Verifier
from mesh.runtime.clock import SystemClock
from mesh.runtime.context import Principal
from mesh.stack.settings import StackSettings
from mesh.storage import Database
from services.policy.domain.rule_set import RELEASE, release_rules
from services.policy.store import News, PostgresRuleSets
from tests.integration.policy.conftest import Decisions, MakeToken
from tests.support import stack as stacks
from tests.support.identity import channel_as, failure

SECONDS = 10.0


@pytest.fixture
async def store(settings: StackSettings, channel: grpc.aio.Channel) -> AsyncIterator[BundleStore]:
    """A store that a watcher fills, as in every service."""
    public_key = settings.home.pki / "bundle-signing.pub"
    made = BundleStore(verifier=lambda: Verifier.read(public_key), clock=SystemClock())
    watching = asyncio.ensure_future(PolicyWatcher(channel, made).run())
    await until(lambda: made.bundle is not None)
    yield made
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


async def until(holds: Callable[[], bool], *, seconds: float = SECONDS) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def installed(database: Database, *more: Rule) -> AsyncIterator[int]:
    """Install a version with more rules than the release's; take them back at the end."""
    rule_sets = PostgresRuleSets(database, News(""))
    release = release_rules(catalogue.scopes())
    made = await rule_sets.install([*release, *more], origin="test")
    try:
        yield made.version
    finally:
        await rule_sets.install(release, origin=RELEASE)


async def test_the_bundle_comes_at_once_signed_and_a_heartbeat_follows(channel: grpc.aio.Channel) -> None:
    call = rpc.BundlesStub(channel).WatchBundle(pb.WatchBundleRequest(), timeout=30)
    # Heartbeats come every five seconds: what comes before is the first message.
    first = await asyncio.wait_for(call.read(), 4)
    assert isinstance(first, pb.WatchBundleResponse)
    assert first.signed_bundle.signature
    second = await asyncio.wait_for(call.read(), 11)
    assert isinstance(second, pb.WatchBundleResponse)
    call.cancel()


async def test_a_workload_that_is_not_listed_gets_none(settings: StackSettings) -> None:
    async with channel_as(settings, "edge", to="policy") as channel:
        call = rpc.BundlesStub(channel).WatchBundle(pb.WatchBundleRequest(), timeout=5)
        refused = await failure(call.read())
    assert refused.reason == "WORKLOAD_DENIED"


async def test_a_watcher_decides_by_what_the_service_publishes(store: BundleStore) -> None:
    ana = Principal("usr_a", "user", "acme", frozenset({"turns.create"}), "tok_1")
    assert store.engine().decide(ana, "turns.create").allowed
    assert not store.engine().decide(ana, "keys.write").allowed


async def test_a_new_version_is_in_force_everywhere(
    store: BundleStore,
    database: Database,
    decisions: Decisions,
    token: MakeToken,
    tenant: str,
) -> None:
    mine = await token("turns.create", "policy.evaluate")
    question = pb.EvaluateRequest(action="turns.create")
    assert (await decisions.Evaluate(question, metadata=mine)).decision.allowed
    freeze = Rule(id="freeze", effect=Effect.DENY, actions=("turns.*",), tenants=frozenset({tenant}))
    async with installed(database, freeze) as version:
        await until(lambda: store.engine().version == version)
        decision = (await decisions.Evaluate(question, metadata=mine)).decision
        assert (decision.allowed, decision.rule_id) == (False, "freeze")
    await until(lambda: store.engine().version == version + 1)
    assert (await decisions.Evaluate(question, metadata=mine)).decision.allowed


async def test_a_version_is_installed_once(database: Database) -> None:
    rule_sets = PostgresRuleSets(database, News(""))
    release = release_rules(catalogue.scopes())
    first, second = await asyncio.gather(*(rule_sets.install(release, origin=RELEASE) for _ in range(2)))
    assert first.version == second.version
    assert (await rule_sets.latest()) == first


async def test_decisions_go_on_while_the_service_is_gone_and_its_stream_is_taken_up(
    store: BundleStore, settings: StackSettings
) -> None:
    before = store.bundle
    assert before is not None
    await stacks.soma(settings, "restart", "policy")
    assert store.engine().version == before.version
    # The restarted service signs afresh; the watcher takes that from its new stream.
    await until(lambda: store.bundle is not None and store.bundle.issue_time > before.issue_time)
