"""The meaning of rules, written as plainly as possible: every rule is read for every request.

Slow on purpose. The engine must agree with it; `tests/bench/decisions.py` measures by how much it is faster.
"""

import math

from mesh.policy.conditions import Attributes, Value
from mesh.policy.rules import Bundle, Condition, Effect, Operator, Rule
from mesh.runtime.context import Principal


def decide(bundle: Bundle, principal: Principal, action: str, attributes: Attributes) -> tuple[bool, str]:
    """Give whether it is allowed and the rule that says so."""
    matching = [rule for rule in bundle.rules if matches(rule, principal, action, attributes)]
    for effect in (Effect.DENY, Effect.ALLOW):
        names = [rule.id for rule in matching if rule.effect is effect]
        if names:
            return effect is Effect.ALLOW, min(names)
    return False, ""


def matches(rule: Rule, principal: Principal, action: str, attributes: Attributes) -> bool:
    """Say whether all parts of a rule fit."""
    resource = action.split(".", maxsplit=1)[0]
    return (
        any(spelling in rule.actions for spelling in ("*", f"{resource}.*", action))
        and (not rule.tenants or principal.tenant in rule.tenants)
        and (not rule.scopes or bool(rule.scopes & principal.scopes))
        and all(
            holds(condition, rule.effect, value_of(condition.attribute, principal, attributes))
            for condition in rule.conditions
        )
    )


def value_of(attribute: str, principal: Principal, attributes: Attributes) -> Value | None:
    """Read an attribute."""
    own: dict[str, Value] = {
        "principal.subject": principal.subject,
        "principal.kind": principal.kind,
        "principal.tenant": principal.tenant,
        "principal.scopes": principal.scopes,
    }
    return own[attribute] if attribute in own else attributes.get(attribute)


def holds(condition: Condition, effect: Effect, value: Value | None) -> bool:
    """Say whether a condition holds; what cannot be told is told against the request."""
    against = effect is Effect.DENY
    if value is None:
        return against and condition.operator is Operator.NOT_IN
    answer = compare(condition, value)
    return against if answer is None else answer


def compare(condition: Condition, value: Value) -> bool | None:
    """Compare; None where the value is of the wrong kind."""
    single = not isinstance(value, tuple | frozenset)
    spelled = str(value).lower() if isinstance(value, bool) else str(value)
    match condition.operator:
        case Operator.IN:
            return spelled in condition.values if single else None
        case Operator.NOT_IN:
            return spelled not in condition.values if single else None
        case Operator.CONTAINS if isinstance(value, tuple | frozenset):
            return any(each in value for each in condition.values)
        case Operator.CONTAINS:
            return value in condition.values if isinstance(value, str) else None
        case Operator.STARTS_WITH:
            starts = isinstance(value, str) and any(value.startswith(each) for each in condition.values)
            return starts if isinstance(value, str) else None
        case _:
            return compare_numbers(condition, value)


def compare_numbers(condition: Condition, value: Value) -> bool | None:
    """Compare as numbers; None where the value is none."""
    if isinstance(value, bool | tuple | frozenset):
        return None
    try:
        found, bound = float(value), float(condition.values[0])  # type: ignore[arg-type]  # str, int, float
    except ValueError:
        return None
    if not math.isfinite(found):
        return None
    return found < bound if condition.operator is Operator.LESS else found > bound
