"""The engine: deny overrides, default deny, and the time of a decision does not grow with the rules.

A bundle is compiled into an index by action and tenant. The rules left for one (action, tenant, scopes)
are worked out at the first such request and kept as a program, in which only conditions are still open;
those that compare for equality are found by a dictionary, the rest in order. Rules have no order of their
own: of several that match, the one with the smallest id is named.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mesh.policy.conditions import Attributes, Reader, Test, compile_all, compile_condition, reader, text
from mesh.policy.rules import ANY, Bundle, Effect, Operator, Rule
from mesh.runtime.context import Principal

_NOTHING: Final[Attributes] = {}
_MOST_PROGRAMS: Final = 16_384
_EVERY_TENANT: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided, by what, and why in a sentence. `id` is given by who asked."""

    allowed: bool
    policy_version: int
    rule_id: str
    reason: str
    id: str = ""

    def identified(self, decision_id: str) -> "Decision":
        """Give the same decision under an id."""
        return replace(self, id=decision_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTrace:
    """What one rule said of a request; `failed_on` is empty where all of it matched."""

    rule: Rule
    matched: bool
    failed_on: str


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A rule made ready; `rank` is its place by id."""

    rank: int
    rule: Rule
    scopes: int
    test: Test | None
    decision: Decision


@dataclass(frozen=True, slots=True)
class _Table:
    """Rules that compare one attribute for equality, by the values that they name."""

    read: Reader
    by_value: Mapping[str, tuple[_Compiled, ...]]
    rules: tuple[_Compiled, ...]

    def candidates(self, principal: Principal, attributes: Attributes) -> tuple[_Compiled, ...]:
        """Give the rules that the attribute's value does not rule out, by id."""
        value = self.read(principal, attributes)
        if value is None:
            return ()
        found = text(value)
        # A list equals nothing, yet meets a deny: each rule looks for itself.
        return self.rules if found is None else self.by_value.get(found, ())


@dataclass(frozen=True, slots=True)
class _Side:
    """The rules of one effect that are left for an action, a tenant and a set of scopes."""

    scan: tuple[_Compiled, ...]
    tables: tuple[_Table, ...]
    always: _Compiled | None

    def first(self, principal: Principal, attributes: Attributes) -> Decision | None:
        """Give the decision of the matching rule with the smallest id."""
        best = self.always
        for table in self.tables:
            best = _better(table.candidates(principal, attributes), best, principal, attributes)
        best = _better(self.scan, best, principal, attributes)
        return None if best is None else best.decision


@dataclass(frozen=True, slots=True)
class _Program:
    denies: _Side | None
    allows: _Side | None
    fixed: Decision | None
    """The answer, where no condition can change it."""


class Engine:
    """Decides by one bundle. Immutable but for what it remembers; a new bundle makes a new engine."""

    def __init__(self, bundle: Bundle) -> None:
        """Compile a bundle."""
        self.version = bundle.version
        ordered = sorted(bundle.rules, key=lambda rule: rule.id)
        scopes = sorted({scope for rule in ordered for scope in rule.scopes})
        self._bits = {scope: 1 << place for place, scope in enumerate(scopes)}
        self._rules: dict[str, list[_Compiled]] = defaultdict(list)
        self._tenants = frozenset(tenant for rule in ordered for tenant in rule.tenants)
        for rank, rule in enumerate(ordered):
            compiled = self._compile(rank, rule)
            for action in dict.fromkeys(rule.actions):
                self._rules[action].append(compiled)
        self._by_tenant = {action: _by_tenant(rules) for action, rules in self._rules.items()}
        self._programs: dict[tuple[str, str, frozenset[str]], _Program] = {}

    def decide(self, principal: Principal, action: str, attributes: Attributes = _NOTHING) -> Decision:
        """Decide whether a principal may do something. The same question always has the same answer."""
        # Actions that no rule names share the program of their resource, or of all: callers choose the names.
        kind = action
        if kind not in self._by_tenant:
            kind = _resource(action)
            if kind not in self._by_tenant:
                kind = ANY
        tenant = principal.tenant if principal.tenant in self._tenants else _EVERY_TENANT
        program = self._programs.get((kind, tenant, principal.scopes))
        if program is None:
            program = self._program(kind, tenant, principal.scopes)
        if program.fixed is not None:
            return program.fixed
        if program.denies is not None:
            denied = program.denies.first(principal, attributes)
            if denied is not None:
                return denied
        allowed = program.allows.first(principal, attributes) if program.allows is not None else None
        return self._no_rule(action) if allowed is None else allowed

    def explain(
        self, principal: Principal, action: str, attributes: Attributes = _NOTHING
    ) -> tuple[RuleTrace, ...]:
        """Tell what each rule that speaks of the action and of the principal's tenant said, by id."""
        speaking = {
            rule.rank: rule
            for pattern in _patterns(action)
            for rule in self._rules.get(pattern, ())
            if not rule.rule.tenants or principal.tenant in rule.rule.tenants
        }
        return tuple(_trace(speaking[rank].rule, principal, attributes) for rank in sorted(speaking))

    def _compile(self, rank: int, rule: Rule) -> _Compiled:
        verb = "allowed" if rule.effect is Effect.ALLOW else "denied"
        told = f": {rule.description}" if rule.description else ""
        decision = Decision(
            allowed=rule.effect is Effect.ALLOW,
            policy_version=self.version,
            rule_id=rule.id,
            reason=f"{verb} by rule {rule.id} of policy version {self.version}{told}",
        )
        return _Compiled(
            rank, rule, self._mask(rule.scopes), compile_all(rule.conditions, rule.effect), decision
        )

    def _mask(self, scopes: Iterable[str]) -> int:
        mask = 0
        for scope in scopes:
            mask |= self._bits.get(scope, 0)
        return mask

    def _program(self, action: str, tenant: str, scopes: frozenset[str]) -> _Program:
        held = self._mask(scopes)
        left: dict[int, _Compiled] = {}
        for pattern in _patterns(action):
            by_tenant = self._by_tenant.get(pattern, {})
            for whom in {tenant, _EVERY_TENANT}:
                for rule in by_tenant.get(whom, ()):
                    if not rule.scopes or rule.scopes & held:
                        left[rule.rank] = rule
        ordered = [left[rank] for rank in sorted(left)]
        denies = _side([rule for rule in ordered if rule.rule.effect is Effect.DENY])
        allows = _side([rule for rule in ordered if rule.rule.effect is Effect.ALLOW])
        program = _Program(denies, allows, _fixed(denies, allows))
        if len(self._programs) >= _MOST_PROGRAMS:
            self._programs.clear()
        self._programs[action, tenant, scopes] = program
        return program

    def _no_rule(self, action: str) -> Decision:
        return Decision(
            allowed=False,
            policy_version=self.version,
            rule_id="",
            reason=f"no rule of policy version {self.version} allows {action}",
        )


def _resource(action: str) -> str:
    return f"{action.partition('.')[0]}.{ANY}"


def _patterns(action: str) -> tuple[str, ...]:
    """Give the spellings under which rules speak of an action, each once."""
    return tuple(dict.fromkeys((action, _resource(action), ANY)))


def _by_tenant(rules: Iterable[_Compiled]) -> dict[str, list[_Compiled]]:
    found: dict[str, list[_Compiled]] = defaultdict(list)
    for rule in rules:
        for tenant in rule.rule.tenants or (_EVERY_TENANT,):
            found[tenant].append(rule)
    return dict(found)


def _side(rules: Sequence[_Compiled]) -> _Side | None:
    """Order rules for the search; what an unconditional rule of smaller id hides is left out."""
    scan: list[_Compiled] = []
    equal: dict[str, list[tuple[_Compiled, Sequence[str]]]] = defaultdict(list)
    always = None
    for rule in rules:
        if rule.test is None:
            always = rule
            break
        key = next((each for each in rule.rule.conditions if each.operator is Operator.IN), None)
        if key is None:
            scan.append(rule)
        else:
            equal[key.attribute].append((rule, key.values))
    if not (scan or equal or always):
        return None
    return _Side(tuple(scan), tuple(_table(name, found) for name, found in equal.items()), always)


def _table(attribute: str, rules: Sequence[tuple[_Compiled, Sequence[str]]]) -> _Table:
    by_value: dict[str, list[_Compiled]] = defaultdict(list)
    for rule, values in rules:
        for value in dict.fromkeys(values):
            by_value[value].append(rule)
    frozen = {value: tuple(found) for value, found in by_value.items()}
    return _Table(reader(attribute), frozen, tuple(rule for rule, _ in rules))


def _fixed(denies: _Side | None, allows: _Side | None) -> Decision | None:
    """Give the answer that no attribute can change: the one open side is a single unconditional rule."""
    for side in (denies, allows):
        if side is not None:
            open_conditions = side.scan or side.tables
            return side.always.decision if side.always and not open_conditions else None
    return None


def _better(
    rules: Sequence[_Compiled], best: _Compiled | None, principal: Principal, attributes: Attributes
) -> _Compiled | None:
    for rule in rules:
        if best is not None and rule.rank > best.rank:
            return best
        if rule.test is None or rule.test(principal, attributes):
            return rule
    return best


def _trace(rule: Rule, principal: Principal, attributes: Attributes) -> RuleTrace:
    failed_on = ""
    if rule.scopes and principal.scopes.isdisjoint(rule.scopes):
        failed_on = f"scopes: none of {', '.join(sorted(rule.scopes))}"
    else:
        for condition in rule.conditions:
            if not compile_condition(condition, rule.effect)(principal, attributes):
                failed_on = f"condition: {condition}"
                break
    return RuleTrace(rule=rule, matched=not failed_on, failed_on=failed_on)
