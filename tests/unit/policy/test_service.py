"""The policy service's domain: what a release allows, what is signed, which questions are heard."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from mesh.policy import BundleStore, Effect, Engine, Rule, catalogue
from mesh.policy.signature import Signer, Verifier
from mesh.runtime.context import Principal
from mesh.runtime.errors import InvalidArgument
from services.policy.domain.publisher import Publisher
from services.policy.domain.questions import Question
from services.policy.domain.rule_set import RuleSet, release_rules
from services.policy.errors import RuleSetRefusedError
from tests.property.policy.strategies import bundle_of
from tests.unit.policy.test_store import START, SetClock

ALL = catalogue.scopes()


def principal(*scopes: str) -> Principal:
    return Principal("usr_ana", "user", "acme", frozenset(scopes), "tok_1")


def test_the_catalogue_holds_every_scope_of_the_contracts() -> None:
    assert {"turns.create", "sessions.read", "policy.evaluate", "audit.read", "keys.write"} <= ALL
    assert all(scope.count(".") == 1 for scope in ALL)


@pytest.mark.parametrize("scope", sorted(ALL))
def test_a_release_allows_what_a_scope_names_and_nothing_else(scope: str) -> None:
    engine = Engine(bundle_of(list(release_rules(ALL))))
    assert {action for action in ALL if engine.decide(principal(scope), action).allowed} == {scope}


def test_a_release_allows_nothing_without_scopes_nor_beyond_them() -> None:
    engine = Engine(bundle_of(list(release_rules(ALL))))
    assert not any(engine.decide(principal(), action).allowed for action in ALL)
    assert not engine.decide(principal(*ALL), "tenants.delete").allowed


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path, clock: SetClock) -> BundleStore:
    return BundleStore(verifier=lambda: Verifier.read(tmp_path / "k.pub"), clock=clock)


@pytest.fixture
def publisher(tmp_path: Path, store: BundleStore, clock: SetClock) -> Publisher:
    signer = Signer.open(tmp_path / "k.key", tmp_path / "k.pub")
    return Publisher(signer=signer, store=store, clock=clock, valid=timedelta(minutes=10))


def rule_set(version: int, action: str = "turns.create") -> RuleSet:
    return RuleSet(version=version, rules=(Rule(id="a", effect=Effect.ALLOW, actions=(action,)),))


async def test_what_is_published_is_in_force_here_and_told_to_whoever_waits(
    publisher: Publisher, store: BundleStore
) -> None:
    waiting = asyncio.ensure_future(publisher.next(0, within=5))
    await asyncio.sleep(0)
    await publisher.publish(rule_set(3))
    serial, signed = await waiting
    assert (serial, publisher.version) == (1, 3)
    assert signed is not None
    assert store.engine().decide(principal(), "turns.create").allowed


async def test_who_comes_late_gets_the_one_in_force_and_silence_gives_nothing(publisher: Publisher) -> None:
    await publisher.publish(rule_set(1))
    serial, signed = await publisher.next(0, within=5)
    assert signed is not None
    assert await publisher.next(serial, within=0.01) == (serial, None)


async def test_a_fresh_signature_holds_longer_for_the_same_rules(
    publisher: Publisher, store: BundleStore, clock: SetClock
) -> None:
    await publisher.publish(rule_set(1))
    clock.at = START + timedelta(minutes=9)
    await publisher.publish(rule_set(1))
    clock.at = START + timedelta(minutes=18)
    assert store.engine().version == 1


async def test_a_stored_version_that_went_back_is_not_signed(publisher: Publisher) -> None:
    await publisher.publish(rule_set(5))
    with pytest.raises(RuleSetRefusedError, match="version 4 is stored, 5 is in force"):
        await publisher.publish(rule_set(4))


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("persona", "guide", "is not the name of an attribute"),
        ("Resource.Persona", "guide", "is not the name of an attribute"),
        ("resource.", "guide", "is not the name of an attribute"),
        ("principal.kind", "user", "comes from the token"),
        ("resource.persona", "x" * 4097, "longer than 4096"),
    ],
)
def test_attributes_that_a_caller_may_not_give_are_named(name: str, value: str, cause: str) -> None:
    with pytest.raises(InvalidArgument, match=cause) as refused:
        Question(principal(), "turns.create", {name: value})
    assert refused.value.violations[0].field == "attributes"
