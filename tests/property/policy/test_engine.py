"""Invariants of the engine on random bundles and requests."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from soma.policy.v1 import resources_pb2 as pb

from mesh.policy import Effect, Engine, Rule
from mesh.policy.conditions import Value
from mesh.policy.rules import parse_rule, rule_message
from mesh.runtime.context import Principal
from tests.property.policy import reference
from tests.property.policy.strategies import ACTIONS, attributes, bundle_of, principals, rule_lists, rules

actions = st.sampled_from((*ACTIONS, "*", "turns.*", ""))
Request = tuple[Principal, str, dict[str, Value]]
requests = st.tuples(principals, actions, attributes)


@settings(max_examples=500)
@given(rule_lists, st.lists(requests, min_size=1, max_size=6))
def test_the_engine_agrees_with_the_plain_reading_of_the_rules(
    found: list[Rule], asked: list[Request]
) -> None:
    bundle = bundle_of(found)
    engine = Engine(bundle)
    for principal, action, about in asked * 2:  # the second time from what it remembers
        decision = engine.decide(principal, action, about)
        assert (decision.allowed, decision.rule_id) == reference.decide(bundle, principal, action, about)


@given(rule_lists, requests, st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(found: list[Rule], asked: Request, random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    assert Engine(bundle_of(found)).decide(*asked) == Engine(bundle_of(shuffled)).decide(*asked)


@given(rule_lists, rules(effect=Effect.DENY), requests)
def test_one_more_deny_never_allows_more(found: list[Rule], deny: Rule, asked: Request) -> None:
    others = [rule for rule in found if rule.id != deny.id]
    before = Engine(bundle_of(others)).decide(*asked)
    after = Engine(bundle_of([*others, deny])).decide(*asked)
    assert not after.allowed or before.allowed


@given(rule_lists, rules(effect=Effect.ALLOW), requests)
def test_one_more_allow_never_denies_more(found: list[Rule], allow: Rule, asked: Request) -> None:
    others = [rule for rule in found if rule.id != allow.id]
    before = Engine(bundle_of(others)).decide(*asked)
    after = Engine(bundle_of([*others, allow])).decide(*asked)
    assert not before.allowed or after.allowed


@given(rule_lists, requests)
def test_an_explanation_says_what_decided(found: list[Rule], asked: Request) -> None:
    engine = Engine(bundle_of(found))
    decision, traces = engine.decide(*asked), engine.explain(*asked)
    matched = {trace.rule.id: trace.rule.effect for trace in traces if trace.matched}
    if decision.rule_id:
        assert matched[decision.rule_id] is (Effect.ALLOW if decision.allowed else Effect.DENY)
    else:
        assert not matched
    assert all(bool(trace.failed_on) != trace.matched for trace in traces)


@given(rules())
def test_a_rule_survives_the_wire(rule: Rule) -> None:
    assert parse_rule(pb.Rule.FromString(rule_message(rule).SerializeToString())) == rule


@given(rule_lists, principals, st.text(), attributes)
@example([], Principal("s", "user", "t", frozenset(), "j"), "turns.create\x00", {})
def test_any_text_is_an_action_that_gets_an_answer(
    found: list[Rule], principal: Principal, action: str, about: dict[str, Value]
) -> None:
    bundle = bundle_of(found)
    decision = Engine(bundle).decide(principal, action, about)
    assert (decision.allowed, decision.rule_id) == reference.decide(bundle, principal, action, about)
