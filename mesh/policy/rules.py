"""What a rule is: frozen values read from `soma.policy.v1`, or a refusal of the whole bundle.

A newer release may say things that this one does not know. Leaving such a part out could allow what it
forbids, so an unknown enum value, operator, attribute of the principal or field refuses the bundle.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from soma.policy.v1 import resources_pb2 as pb

from mesh.policy.errors import BundleRefusedError

ANY: Final = "*"
PRINCIPAL_ATTRIBUTES: Final = frozenset(
    {"principal.subject", "principal.kind", "principal.tenant", "principal.scopes"}
)
_ACTION: Final = re.compile(r"\*|[a-z][a-z_]*\.(?:\*|[a-z][a-z_]*)")
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")
_RULE_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_MOST_RULES: Final = 100_000


class Effect(Enum):
    """What a rule does when it matches."""

    ALLOW = pb.EFFECT_ALLOW
    DENY = pb.EFFECT_DENY


class Operator(Enum):
    """How a condition compares; `mesh.policy.conditions` says what each means."""

    IN = pb.OPERATOR_IN
    NOT_IN = pb.OPERATOR_NOT_IN
    LESS = pb.OPERATOR_LESS
    GREATER = pb.OPERATOR_GREATER
    CONTAINS = pb.OPERATOR_CONTAINS
    STARTS_WITH = pb.OPERATOR_STARTS_WITH

    @property
    def numeric(self) -> bool:
        """Whether it compares numbers."""
        return self in (Operator.LESS, Operator.GREATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A test on one attribute."""

    attribute: str
    operator: Operator
    values: tuple[str, ...]

    def __str__(self) -> str:
        """Read it as people do."""
        return f"{self.attribute} {self.operator.name.lower()} {', '.join(self.values)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Empty `tenants` means all, empty `scopes` means no demand."""

    id: str
    effect: Effect
    actions: tuple[str, ...]
    tenants: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    conditions: tuple[Condition, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A set of rules with its time."""

    version: int
    rules: tuple[Rule, ...]
    issue_time: datetime
    expire_time: datetime


def parse_bundle(serialized: bytes) -> Bundle:
    """Read a bundle from the bytes that were signed.

    Raises:
        BundleRefusedError: any part of it is malformed or not known to this release.
    """
    try:
        message = pb.Bundle.FromString(serialized)
    except DecodeError as error:
        raise BundleRefusedError("it is no serialized Bundle") from error
    _refuse_unknown_fields(message, "the bundle")
    if message.version < 1:
        raise BundleRefusedError("it has no version")
    if not (message.HasField("issue_time") and message.HasField("expire_time")):
        raise BundleRefusedError("it does not say when it was issued and when it expires")
    if len(message.rules) > _MOST_RULES:
        raise BundleRefusedError(f"it has {len(message.rules)} rules; the bound is {_MOST_RULES}")
    rules = tuple(map(parse_rule, message.rules))
    if len({rule.id for rule in rules}) != len(rules):
        raise BundleRefusedError("two rules have the same id")
    issued, expires = (_time(getattr(message, name)) for name in ("issue_time", "expire_time"))
    if issued >= expires:
        raise BundleRefusedError("it expires before it was issued")
    return Bundle(version=message.version, rules=rules, issue_time=issued, expire_time=expires)


def parse_rule(message: pb.Rule) -> Rule:
    """Read one rule.

    Raises:
        BundleRefusedError: any part of it is malformed or not known to this release.
    """
    where = f"rule {message.id!r}"
    _refuse_unknown_fields(message, where)
    if not _RULE_ID.fullmatch(message.id):
        raise BundleRefusedError(f"{where}: that is no name of a rule")
    try:
        effect = Effect(message.effect)
    except ValueError:
        raise BundleRefusedError(f"{where}: effect {message.effect} is not known") from None
    if not message.actions:
        raise BundleRefusedError(f"{where} speaks of no action")
    _refuse_malformed(_ACTION, message.actions, f"{where}: action")
    if "" in message.tenants or "" in message.scopes:
        raise BundleRefusedError(f"{where} names an empty tenant or scope")
    return Rule(
        id=message.id,
        effect=effect,
        actions=tuple(message.actions),
        tenants=frozenset(message.tenants),
        scopes=frozenset(message.scopes),
        conditions=tuple(_condition(condition, where) for condition in message.conditions),
        description=message.description,
    )


def rule_message(rule: Rule) -> pb.Rule:
    """Write a rule; `parse_rule` reads it back equal."""
    return pb.Rule(
        id=rule.id,
        effect=rule.effect.value,
        actions=rule.actions,
        tenants=sorted(rule.tenants),
        scopes=sorted(rule.scopes),
        conditions=[
            pb.Condition(attribute=each.attribute, operator=each.operator.value, values=each.values)
            for each in rule.conditions
        ],
        description=rule.description,
    )


def _condition(message: pb.Condition, where: str) -> Condition:
    _refuse_unknown_fields(message, where)
    _refuse_malformed(_ATTRIBUTE, (message.attribute,), f"{where}: attribute")
    if message.attribute.startswith("principal.") and message.attribute not in PRINCIPAL_ATTRIBUTES:
        raise BundleRefusedError(f"{where}: attribute {message.attribute} is not known")
    try:
        operator = Operator(message.operator)
    except ValueError:
        raise BundleRefusedError(f"{where}: operator {message.operator} is not known") from None
    if not message.values:
        raise BundleRefusedError(f"{where}: a condition on {message.attribute} has no values")
    if operator.numeric and (len(message.values) != 1 or number(message.values[0]) is None):
        raise BundleRefusedError(f"{where}: {operator.name.lower()} takes exactly one number")
    if operator is Operator.STARTS_WITH and "" in message.values:
        raise BundleRefusedError(f"{where}: everything starts with an empty value")
    return Condition(attribute=message.attribute, operator=operator, values=tuple(message.values))


def number(value: object) -> float | None:
    """Give the finite number that a value is or spells; None where it is none (a bool is none)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _time(stamp: object) -> datetime:
    to_datetime = stamp.ToDatetime  # type: ignore[attr-defined]  # a well-known type's mixin, untyped here
    try:
        found: datetime = to_datetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BundleRefusedError("a time in it is out of range") from error
    return found


def _refuse_unknown_fields(message: Message, where: str) -> None:
    if len(UnknownFieldSet(message)):
        raise BundleRefusedError(f"{where} has a field that this release does not know")


def _refuse_malformed(form: re.Pattern[str], names: Iterable[str], what: str) -> None:
    for name in names:
        if not form.fullmatch(name):
            raise BundleRefusedError(f"{what} {name!r} is malformed")
