"""Which bundles come into force, and that nothing is decided without one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from soma.policy.v1 import resources_pb2 as pb

from mesh.policy import BundleRefusedError, BundleStore, Decisions
from mesh.policy.signature import Signer, Verifier
from mesh.runtime.context import CallContext, Principal, acting_for, enter_call
from mesh.runtime.errors import ConfigurationError, PermissionDenied, Unauthenticated, Unavailable
from mesh.runtime.trace import new_trace

START = datetime(2026, 1, 1, tzinfo=UTC)
ANA = Principal("usr_ana", "user", "acme", frozenset({"turns.create"}), "tok_1")


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        """Return where it stands."""
        return self.at

    def monotonic(self) -> float:
        """Return the same in seconds."""
        return self.at.timestamp()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(tmp_path / "bundle-signing.key", tmp_path / "bundle-signing.pub")


@pytest.fixture
def store(tmp_path: Path, clock: SetClock, signer: Signer) -> BundleStore:
    del signer  # its files must be there
    return BundleStore(verifier=lambda: Verifier.read(tmp_path / "bundle-signing.pub"), clock=clock)


def bundle(
    version: int = 1, *, issued: datetime = START, minutes: int = 10, allow: str = "turns.create"
) -> bytes:
    message = pb.Bundle(version=version, rules=[pb.Rule(id="allow", effect=pb.EFFECT_ALLOW, actions=[allow])])
    message.issue_time.FromDatetime(issued)
    message.expire_time.FromDatetime(issued + timedelta(minutes=minutes))
    return message.SerializeToString()


def refusal(store: BundleStore, signed: pb.SignedBundle) -> str:
    before = store.bundle
    with pytest.raises(BundleRefusedError) as refused:
        store.accept(signed)
    assert store.bundle is before
    return refused.value.cause


def test_without_a_bundle_nothing_is_decided(store: BundleStore) -> None:
    with pytest.raises(Unavailable) as refused:
        store.engine()
    assert refused.value.reason == "POLICY_UNAVAILABLE"


def test_a_signed_bundle_decides_until_it_expires(
    store: BundleStore, signer: Signer, clock: SetClock
) -> None:
    assert store.accept(signer.sign(bundle()))
    clock.at = START + timedelta(minutes=10) - timedelta(microseconds=1)
    assert store.engine().decide(ANA, "turns.create").allowed
    clock.at = START + timedelta(minutes=10)
    with pytest.raises(Unavailable, match="expired"):
        store.engine()


def test_a_fresh_signature_prolongs_it_without_a_change(
    store: BundleStore, signer: Signer, clock: SetClock
) -> None:
    store.accept(signer.sign(bundle()))
    engine = store.engine()
    assert not store.accept(signer.sign(bundle(issued=START + timedelta(seconds=30))))
    clock.at = START + timedelta(minutes=10, seconds=29)
    assert store.engine() is engine


def test_an_older_signature_of_the_same_version_does_not_shorten_it(
    store: BundleStore, signer: Signer, clock: SetClock
) -> None:
    store.accept(signer.sign(bundle(minutes=20)))
    store.accept(signer.sign(bundle(minutes=10)))
    clock.at = START + timedelta(minutes=15)
    store.engine()


def test_unsigned_foreign_and_altered_bundles_are_refused(store: BundleStore, signer: Signer) -> None:
    good = signer.sign(bundle())
    foreign = Signer(Ed25519PrivateKey.generate()).sign(bundle())
    borrowed = pb.SignedBundle(bundle=foreign.bundle, signature=foreign.signature, key_id=good.key_id)
    altered = pb.SignedBundle(bundle=bundle(allow="*"), signature=good.signature, key_id=good.key_id)
    assert "not signed" in refusal(store, pb.SignedBundle(bundle=good.bundle, key_id=good.key_id))
    assert "no public key" in refusal(store, foreign)
    assert "signature" in refusal(store, borrowed)
    assert "signature" in refusal(store, altered)


def test_stale_and_future_bundles_are_refused(store: BundleStore, signer: Signer) -> None:
    assert "expired" in refusal(store, signer.sign(bundle(issued=START - timedelta(minutes=10))))
    assert "future" in refusal(store, signer.sign(bundle(issued=START + timedelta(minutes=2))))


def test_a_version_never_goes_back_nor_changes_its_rules(store: BundleStore, signer: Signer) -> None:
    store.accept(signer.sign(bundle(5)))
    assert "older" in refusal(store, signer.sign(bundle(4)))
    assert "other rules" in refusal(store, signer.sign(bundle(5, allow="*")))
    assert store.accept(signer.sign(bundle(6, allow="*")))


def test_a_bundle_that_is_not_understood_leaves_the_old_one_in_force(
    store: BundleStore, signer: Signer
) -> None:
    store.accept(signer.sign(bundle(1)))
    assert "malformed" in refusal(store, signer.sign(bundle(2, allow="turns.cre*")))
    assert store.engine().version == 1


def test_the_public_key_may_come_later_and_change(tmp_path: Path, clock: SetClock) -> None:
    public = tmp_path / "late.pub"
    store = BundleStore(verifier=lambda: Verifier.read(public), clock=clock)
    first = Signer.open(tmp_path / "first.key", tmp_path / "first.pub")
    assert "cannot be read" in refusal(store, first.sign(bundle()))
    second = Signer.open(tmp_path / "second.key", tmp_path / "second.pub")
    public.write_bytes((tmp_path / "first.pub").read_bytes() + (tmp_path / "second.pub").read_bytes())
    assert store.accept(first.sign(bundle(1)))
    assert store.accept(second.sign(bundle(2)))


def test_a_signing_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    private, public = tmp_path / "secrets" / "k.key", tmp_path / "k.pub"
    assert Signer.open(private, public).key_id == Signer.open(private, public).key_id
    assert private.stat().st_mode & 0o077 == 0
    private.write_text("no key")
    with pytest.raises(ConfigurationError):
        Signer.open(private, public)


def call(principal: Principal | None) -> CallContext:
    return CallContext(method="/a/B", request_id="r", trace=new_trace(), tenant="acme", principal=principal)


async def test_a_handler_gets_the_decision_or_a_refusal(store: BundleStore, signer: Signer) -> None:
    store.accept(signer.sign(bundle(7)))
    decisions = Decisions(store)
    with acting_for(tenant="acme"):
        enter_call(call(ANA))
        decision = await decisions.decide(action="turns.create", attributes={"resource.persona": "guide"})
        assert decision.id.startswith("dec_")
        assert (decision.policy_version, decision.rule_id) == (7, "allow")
        with pytest.raises(PermissionDenied) as denied:
            await decisions.decide(action="keys.write")
        assert denied.value.reason == "POLICY_DENIED"
        assert denied.value.metadata["policy_version"] == "7"
        assert denied.value.metadata["decision_id"].startswith("dec_")
        enter_call(call(None))
        with pytest.raises(Unauthenticated):
            await decisions.decide(action="turns.create")


async def test_a_handler_is_refused_without_a_bundle(store: BundleStore) -> None:
    with acting_for(tenant="acme"):
        enter_call(call(ANA))
        with pytest.raises(Unavailable):
            await Decisions(store).decide(action="turns.create")


def about_the_call(effect: pb.Effect.ValueType, attribute: str, value: str) -> pb.Rule:
    condition = pb.Condition(attribute=attribute, operator=pb.OPERATOR_IN, values=[value])
    return pb.Rule(id="call", effect=effect, actions=["*"], conditions=[condition])


def in_force(store: BundleStore, signer: Signer, *rules: pb.Rule) -> Decisions:
    message = pb.Bundle.FromString(bundle(9))
    message.rules.extend(rules)
    store.accept(signer.sign(message.SerializeToString()))
    return Decisions(store)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("request.service", "a"), ("request.method", "B"), ("request.caller", "edge")],
)
async def test_rules_may_ask_what_is_known_of_a_call_whoever_decides_it(
    store: BundleStore, signer: Signer, attribute: str, value: str
) -> None:
    decisions = in_force(store, signer, about_the_call(pb.EFFECT_DENY, attribute, value))
    asked = call(ANA)
    asked.caller = "edge"
    with pytest.raises(PermissionDenied) as denied:
        decisions.admit(asked, "turns.create")
    assert denied.value.metadata["rule_id"] == "call"
    assert asked.decision is not None
    assert asked.decision.id == denied.value.metadata["decision_id"]
    claimed = {attribute: "something else"}
    with acting_for(tenant="acme"):
        enter_call(asked)
        assert not decisions.evaluate(ANA, action="turns.create", attributes=claimed).allowed


def test_a_decision_that_admits_stays_with_the_call_under_one_id(store: BundleStore, signer: Signer) -> None:
    decisions, asked = in_force(store, signer), call(ANA)
    assert asked.decision is None
    decisions.admit(asked, "turns.create")
    decision = asked.decision
    assert decision is not None
    assert (decision.policy_version, decision.rule_id) == (9, "allow")
    assert decision.id.startswith("dec_")
    assert asked.decision is decision
    other = call(ANA)
    decisions.admit(other, "turns.create")
    assert other.decision is not None
    assert other.decision.id != decision.id


def test_nothing_is_admitted_without_a_bundle_or_a_token(store: BundleStore, signer: Signer) -> None:
    with pytest.raises(Unavailable):
        Decisions(store).admit(call(ANA), "turns.create")
    with pytest.raises(Unauthenticated):
        in_force(store, signer).admit(call(None), "turns.create")
