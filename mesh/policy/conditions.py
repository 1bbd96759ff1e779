"""Conditions as closures: each is compiled once, when its bundle arrives.

What a condition says about an attribute that cannot answer is decided against the request. An attribute of
the wrong kind (a word where a number is compared) fails an allow and meets a deny. An absent attribute meets
nothing; only NOT_IN, which is literally true of it, meets a deny, and still fails an allow.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final

from mesh.policy.rules import Condition, Effect, Operator, number
from mesh.runtime.context import Principal

Value = str | int | float | bool | Sequence[str] | Set[str]
"""What an attribute may be."""
Attributes = Mapping[str, Value]
Test = Callable[[Principal, Attributes], bool]
Reader = Callable[[Principal, Attributes], Value | None]

_PRINCIPAL: Final[Mapping[str, Reader]] = {
    "principal.subject": lambda principal, _: principal.subject,
    "principal.kind": lambda principal, _: principal.kind,
    "principal.tenant": lambda principal, _: principal.tenant,
    "principal.scopes": lambda principal, _: principal.scopes,
}


def reader(attribute: str) -> Reader:
    """Give the function that reads an attribute; the principal's never come from the request."""
    known = _PRINCIPAL.get(attribute)
    if known is not None:
        return known
    return lambda _, attributes: attributes.get(attribute)


def text(value: Value | None) -> str | None:
    """Give a single value as rules spell it; None for a list and for nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


def compile_condition(condition: Condition, effect: Effect) -> Test:
    """Compile one condition of a rule with that effect."""
    read = reader(condition.attribute)
    judge = _JUDGES[condition.operator](condition.values, effect is Effect.DENY)
    return lambda principal, attributes: judge(read(principal, attributes))


def compile_all(conditions: Sequence[Condition], effect: Effect) -> Test | None:
    """Compile conditions that must all hold; None where there are none."""
    tests = tuple(compile_condition(condition, effect) for condition in conditions)
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]

    def both(principal: Principal, attributes: Attributes) -> bool:
        for test in tests:  # noqa: SIM110  a generator expression costs half a microsecond here
            if not test(principal, attributes):
                return False
        return True

    return both


Judge = Callable[[Value | None], bool]


def _in(values: Sequence[str], unknown: bool) -> Judge:
    wanted = frozenset(values)

    def judge(value: Value | None) -> bool:
        if value is None:
            return False
        found = text(value)
        return unknown if found is None else found in wanted

    return judge


def _not_in(values: Sequence[str], unknown: bool) -> Judge:
    unwanted = frozenset(values)

    def judge(value: Value | None) -> bool:
        found = text(value)
        return unknown if found is None else found not in unwanted

    return judge


def _compare(values: Sequence[str], unknown: bool, *, less: bool) -> Judge:
    bound = float(values[0])

    def judge(value: Value | None) -> bool:
        if value is None:
            return False
        found = number(value)
        if found is None:
            return unknown
        return found < bound if less else found > bound

    return judge


def _contains(values: Sequence[str], unknown: bool) -> Judge:
    wanted = frozenset(values)

    def judge(value: Value | None) -> bool:
        if value is None:
            return False
        if isinstance(value, str):
            return value in wanted
        if isinstance(value, Sequence | Set):
            return not wanted.isdisjoint(value)
        return unknown

    return judge


def _starts_with(values: Sequence[str], unknown: bool) -> Judge:
    beginnings = tuple(values)

    def judge(value: Value | None) -> bool:
        if value is None:
            return False
        return value.startswith(beginnings) if isinstance(value, str) else unknown

    return judge


_JUDGES: Final[Mapping[Operator, Callable[[Sequence[str], bool], Judge]]] = {
    Operator.IN: _in,
    Operator.NOT_IN: _not_in,
    Operator.LESS: lambda values, unknown: _compare(values, unknown, less=True),
    Operator.GREATER: lambda values, unknown: _compare(values, unknown, less=False),
    Operator.CONTAINS: _contains,
    Operator.STARTS_WITH: _starts_with,
}
