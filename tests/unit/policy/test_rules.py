"""What a bundle may say; anything else refuses all of it."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from soma.policy.v1 import resources_pb2 as pb

from mesh.policy import BundleRefusedError, Effect, Operator
from mesh.policy.rules import parse_bundle

GOOD = pb.Rule(
    id="guard",
    effect=pb.EFFECT_DENY,
    actions=["turns.create"],
    conditions=[pb.Condition(attribute="resource.persona", operator=pb.OPERATOR_IN, values=["guide"])],
)


def bundle(*rules: pb.Rule) -> pb.Bundle:
    return pb.Bundle(
        version=3,
        rules=rules,
        issue_time=Timestamp(seconds=1_000),
        expire_time=Timestamp(seconds=2_000),
    )


def changed(**fields: object) -> pb.Rule:
    rule = pb.Rule()
    rule.CopyFrom(GOOD)
    for name, value in fields.items():
        rule.ClearField(name)  # type: ignore[arg-type]  # a field's name
        if isinstance(value, list):
            getattr(rule, name).extend(value)
        else:
            setattr(rule, name, value)
    return rule


def condition(**fields: object) -> pb.Rule:
    return changed(conditions=[pb.Condition(**fields)])  # type: ignore[arg-type]  # field by field


def refusal(serialized: bytes) -> str:
    with pytest.raises(BundleRefusedError) as refused:
        parse_bundle(serialized)
    return refused.value.cause


def test_a_bundle_is_read_as_it_was_written() -> None:
    read = parse_bundle(bundle(GOOD).SerializeToString())
    assert read.version == 3
    (rule,) = read.rules
    assert (rule.id, rule.effect, rule.actions) == ("guard", Effect.DENY, ("turns.create",))
    assert rule.conditions[0].operator is Operator.IN
    assert str(rule.conditions[0]) == "resource.persona in guide"


IN = pb.OPERATOR_IN


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        (changed(id=""), "no name of a rule"),
        (changed(id="Two words"), "no name of a rule"),
        (changed(effect=0), "effect 0 is not known"),
        (changed(effect=9), "effect 9 is not known"),
        (changed(actions=[]), "speaks of no action"),
        (changed(actions=["turns.create", "turns"]), "action 'turns' is malformed"),
        (changed(actions=["turns.cre*"]), "malformed"),
        (changed(tenants=["acme", ""]), "empty tenant"),
        (changed(scopes=[""]), "empty tenant or scope"),
        (condition(attribute="persona", operator=IN, values=["x"]), "attribute 'persona' is malformed"),
        (condition(attribute="principal.shoe_size", operator=IN, values=["4"]), "shoe_size is not known"),
        (condition(attribute="resource.a", operator=0, values=["x"]), "operator 0 is not known"),
        (condition(attribute="resource.a", operator=77, values=["x"]), "operator 77 is not known"),
        (condition(attribute="resource.a", operator=IN), "has no values"),
        (condition(attribute="resource.a", operator=pb.OPERATOR_LESS, values=["x"]), "exactly one number"),
        (condition(attribute="resource.a", operator=pb.OPERATOR_LESS, values=["nan"]), "exactly one number"),
        (condition(attribute="resource.a", operator=pb.OPERATOR_GREATER, values=["1", "2"]), "one number"),
        (condition(attribute="resource.a", operator=pb.OPERATOR_STARTS_WITH, values=[""]), "empty value"),
    ],
)
def test_one_bad_rule_refuses_the_whole_bundle(rule: pb.Rule, cause: str) -> None:
    other = changed(id="other")
    assert cause in refusal(bundle(other, rule).SerializeToString())


def test_two_rules_of_one_name_are_refused() -> None:
    assert "same id" in refusal(bundle(GOOD, GOOD).SerializeToString())


def test_a_bundle_without_version_or_time_is_refused() -> None:
    no_version, no_time, backwards = bundle(GOOD), bundle(GOOD), bundle(GOOD)
    no_version.ClearField("version")
    no_time.ClearField("expire_time")
    backwards.expire_time.seconds = 1_000
    assert "no version" in refusal(no_version.SerializeToString())
    assert "when it expires" in refusal(no_time.SerializeToString())
    assert "before it was issued" in refusal(backwards.SerializeToString())


@pytest.mark.parametrize("where", ["bundle", "rule", "condition"])
def test_a_field_of_a_later_release_is_refused_rather_than_left_out(where: str) -> None:
    later = b"\xfa\x3e\x01x"  # field 1007, one byte long
    rule = changed()
    if where == "condition":
        rule.conditions[0].MergeFromString(later)
    if where == "rule":
        rule.MergeFromString(later)
    whole = bundle(rule)
    if where == "bundle":
        whole.MergeFromString(later)
    assert "does not know" in refusal(whole.SerializeToString())


def test_bytes_that_are_no_bundle_are_refused() -> None:
    assert "no serialized Bundle" in refusal(b"\xff\xff\xff")
