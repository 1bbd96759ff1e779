"""What the engine answers, and why."""

import pytest

from mesh.policy import Condition, Effect, Engine, Operator, Rule
from mesh.policy.conditions import Value
from mesh.runtime.context import Principal
from tests.property.policy.strategies import bundle_of

ANA = Principal("usr_ana", "user", "acme", frozenset({"turns.create"}), "tok_1")
BOB = Principal("usr_bob", "api_key", "globex", frozenset({"sessions.read"}), "tok_2")


def rule(name: str, effect: Effect, *actions: str, **parts: object) -> Rule:
    return Rule(id=name, effect=effect, actions=actions, **parts)  # type: ignore[arg-type]  # by name


def when(attribute: str, operator: Operator, *values: str) -> tuple[Condition, ...]:
    return (Condition(attribute=attribute, operator=operator, values=values),)


def test_without_rules_everything_is_denied() -> None:
    decision = Engine(bundle_of([], version=4)).decide(ANA, "turns.create")
    assert not decision.allowed
    assert (decision.policy_version, decision.rule_id) == (4, "")
    assert decision.reason == "no rule of policy version 4 allows turns.create"


def test_a_deny_overrides_every_allow() -> None:
    allow = rule("a", Effect.ALLOW, "*")
    deny = rule("z", Effect.DENY, "turns.*", description="no turns today")
    decision = Engine(bundle_of([allow, deny], version=2)).decide(ANA, "turns.create")
    assert decision.reason == "denied by rule z of policy version 2: no turns today"


@pytest.mark.parametrize(
    ("pattern", "action", "allowed"),
    [
        ("turns.create", "turns.create", True),
        ("turns.create", "turns.read", False),
        ("turns.*", "turns.read", True),
        ("turns.*", "turnstiles.read", False),
        ("*", "anything.at_all", True),
        ("turns.*", "turns", True),
    ],
)
def test_actions_are_named_whole_by_resource_or_all(pattern: str, action: str, allowed: bool) -> None:
    engine = Engine(bundle_of([rule("a", Effect.ALLOW, pattern)]))
    assert engine.decide(ANA, action).allowed is allowed


def test_a_rule_speaks_of_its_tenants_only() -> None:
    engine = Engine(bundle_of([rule("a", Effect.ALLOW, "*", tenants=frozenset({"acme"}))]))
    assert engine.decide(ANA, "turns.create").allowed
    assert not engine.decide(BOB, "turns.create").allowed


def test_one_of_the_scopes_is_enough() -> None:
    engine = Engine(
        bundle_of([rule("a", Effect.ALLOW, "*", scopes=frozenset({"turns.create", "turns.read"}))])
    )
    assert engine.decide(ANA, "x.y").allowed
    assert not engine.decide(BOB, "x.y").allowed


@pytest.mark.parametrize(
    ("operator", "values", "value", "allow", "deny"),
    [
        (Operator.IN, ("guide",), "guide", True, True),
        (Operator.IN, ("guide",), "other", False, False),
        (Operator.IN, ("guide",), None, False, False),
        (Operator.IN, ("guide",), ("guide",), False, True),
        (Operator.IN, ("true",), True, True, True),
        (Operator.NOT_IN, ("guide",), "other", True, True),
        (Operator.NOT_IN, ("guide",), None, False, True),
        (Operator.LESS, ("10",), 9, True, True),
        (Operator.LESS, ("10",), "9.5", True, True),
        (Operator.LESS, ("10",), 10, False, False),
        (Operator.LESS, ("10",), "many", False, True),
        (Operator.LESS, ("10",), float("nan"), False, True),
        (Operator.GREATER, ("10",), 11, True, True),
        (Operator.GREATER, ("10",), None, False, False),
        (Operator.CONTAINS, ("a", "b"), ("b", "c"), True, True),
        (Operator.CONTAINS, ("a",), "a", True, True),
        (Operator.CONTAINS, ("a",), "abc", False, False),
        (Operator.CONTAINS, ("a",), 7, False, True),
        (Operator.STARTS_WITH, ("doc_", "mem_"), "mem_1", True, True),
        (Operator.STARTS_WITH, ("doc_",), 7, False, True),
    ],
)
def test_what_cannot_be_told_is_told_against_the_request(
    operator: Operator, values: tuple[str, ...], value: Value | None, allow: bool, deny: bool
) -> None:
    conditions = when("resource.x", operator, *values)
    about = {} if value is None else {"resource.x": value}
    allowing = Engine(bundle_of([rule("a", Effect.ALLOW, "*", conditions=conditions)]))
    denying = Engine(
        bundle_of([rule("a", Effect.DENY, "*", conditions=conditions), rule("b", Effect.ALLOW, "*")])
    )
    assert allowing.decide(ANA, "x.y", about).allowed is allow
    assert denying.decide(ANA, "x.y", about).allowed is not deny


def test_a_request_cannot_speak_for_the_principal() -> None:
    engine = Engine(
        bundle_of([rule("a", Effect.ALLOW, "*", conditions=when("principal.kind", Operator.IN, "user"))])
    )
    assert engine.decide(ANA, "x.y", {"principal.kind": "api_key"}).allowed
    assert not engine.decide(BOB, "x.y", {"principal.kind": "user"}).allowed


def test_an_explanation_names_the_first_part_that_failed_and_hides_other_tenants() -> None:
    engine = Engine(
        bundle_of(
            [
                rule("a", Effect.ALLOW, "turns.create", scopes=frozenset({"turns.admin"})),
                rule("b", Effect.ALLOW, "turns.*", conditions=when("resource.tokens", Operator.LESS, "5")),
                rule("c", Effect.DENY, "*", tenants=frozenset({"globex"})),
                rule("d", Effect.ALLOW, "sessions.read"),
                rule("e", Effect.ALLOW, "*"),
            ]
        )
    )
    told = [
        (trace.rule.id, trace.matched, trace.failed_on)
        for trace in engine.explain(ANA, "turns.create", {"resource.tokens": 5})
    ]
    assert told == [
        ("a", False, "scopes: none of turns.admin"),
        ("b", False, "condition: resource.tokens less 5"),
        ("e", True, ""),
    ]
