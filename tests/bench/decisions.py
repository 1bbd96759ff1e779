"""How long a decision takes, against a plain reading of every rule.

`python -m tests.bench.decisions` prints rows `{name, unit, ours, baseline, ratio, spread}` as JSON. `ours`
and `baseline` are microseconds at the median; `ratio` is ours / baseline; `spread` is the distance between
the quartiles of the rounds divided by their median. The baseline is `tests/property/policy/reference.py`.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.policy import Bundle, Condition, Effect, Engine, Operator, Rule
from mesh.policy.conditions import Attributes
from mesh.runtime.context import Principal
from tests.bench.rows import Bound, Row, emit, single
from tests.property.policy import reference
from tests.property.policy.strategies import bundle_of

_ROUNDS: Final = 30
_SEED: Final = 7
_RESOURCES: Final = ("turns", "sessions", "memories", "documents", "models", "keys", "users", "audit")
_VERBS: Final = ("create", "read", "write", "use")
_ACTIONS: Final = tuple(f"{resource}.{verb}" for resource in _RESOURCES for verb in _VERBS)
Request = tuple[Principal, str, Attributes]


@dataclass(frozen=True, slots=True)
class Workload:
    """A bundle and requests for it."""

    name: str
    bundle: Bundle
    requests: Sequence[Request]


def mixed(count: int) -> Workload:
    """Rules as an organisation has them: by action, tenant, scope and persona; one in four denies."""
    dice = random.Random(_SEED)
    tenants = [f"tnt_{place:04}" for place in range(max(4, count // 20))]
    found = [_mixed_rule(place, dice, tenants) for place in range(count)]
    return Workload(f"mixed, {count} rules", bundle_of(found), _requests(dice, tenants))


def one_action(count: int) -> Workload:
    """The hardest case for an index: every rule speaks of the same action, for all tenants, by persona."""
    dice = random.Random(_SEED)
    found = [
        Rule(
            id=f"r{place:06}",
            effect=Effect.DENY,
            actions=("turns.create",),
            conditions=(_equals("resource.persona", f"persona-{place}"),),
        )
        for place in range(count - 1)
    ]
    found.append(Rule(id="z-allow", effect=Effect.ALLOW, actions=("*",)))
    asked = [
        (principal, "turns.create", attributes) for principal, _, attributes in _requests(dice, ["tnt_0000"])
    ]
    return Workload(f"one action, {count} rules", bundle_of(found), asked)


def _mixed_rule(place: int, dice: random.Random, tenants: Sequence[str]) -> Rule:
    action = dice.choice(_ACTIONS)
    conditions = (
        (),
        (_equals("resource.persona", f"persona-{dice.randrange(40)}"),),
        (Condition(attribute="resource.tokens", operator=Operator.GREATER, values=("4096",)),),
    )
    return Rule(
        id=f"r{place:06}",
        effect=Effect.DENY if place % 4 == 0 else Effect.ALLOW,
        actions=(action if dice.random() < 0.9 else f"{action.split('.')[0]}.*",),
        tenants=frozenset({dice.choice(tenants)}),
        scopes=frozenset({action}) if dice.random() < 0.5 else frozenset(),
        conditions=dice.choice(conditions) if place % 4 else conditions[1 + dice.randrange(2)],
    )


def _equals(attribute: str, value: str) -> Condition:
    return Condition(attribute=attribute, operator=Operator.IN, values=(value,))


def _requests(dice: random.Random, tenants: Sequence[str]) -> list[Request]:
    found = []
    for place in range(200):
        scopes = frozenset(dice.sample(_ACTIONS, 12))
        principal = Principal(f"usr_{place}", "user", dice.choice(tenants), scopes, f"tok_{place}")
        about: Attributes = {
            "resource.persona": f"persona-{dice.randrange(40)}",
            "resource.tokens": dice.randrange(8192),
        }
        found.append((principal, dice.choice(_ACTIONS), about))
    return found


def microseconds(work: Callable[[Principal, str, Attributes], object], asked: Sequence[Request]) -> float:
    """Give the mean time of one call over the requests."""
    begin = time.perf_counter_ns()
    for principal, action, about in asked:
        work(principal, action, about)
    return (time.perf_counter_ns() - begin) / len(asked) / 1000


def measure(workload: Workload, bound: Bound | None = None) -> Row:
    """Give one row."""
    engine = Engine(workload.bundle)
    ours = [microseconds(engine.decide, workload.requests) for _ in range(_ROUNDS)]
    return single(f"decision ({workload.name})", "us", ours, bound=bound, beside=_plain(workload))


def measure_first(workload: Workload) -> Row:
    """Give one row of decisions that find nothing remembered: every request has scopes of its own."""
    engines = [Engine(workload.bundle) for _ in range(5)]
    ours = [microseconds(engine.decide, workload.requests) for engine in engines]
    name = f"first decision for a set of scopes ({workload.name})"
    return single(name, "us", ours, beside=_plain(workload))


def _plain(workload: Workload) -> float:
    few = workload.requests[:20]
    return statistics.median(
        microseconds(lambda *asked: reference.decide(workload.bundle, *asked), few) for _ in range(3)
    )


def rows() -> list[Row]:
    """Give all rows: a decision at 100 rules has its bound, and one at 10,000 twice what that took."""
    found = []
    for make in (mixed, one_action):
        hundred = measure(make(100), Bound(5.0))
        found += [measure(make(10)), hundred, measure(make(10_000), Bound(2 * hundred.ours))]
    return [*found, *(measure_first(mixed(count)) for count in (10, 100, 10_000))]


if __name__ == "__main__":
    emit(rows())
