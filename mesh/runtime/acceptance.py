"""Validation rules as closures: compiled once from the descriptor, they say that a request is surely valid.

protovalidate walks descriptors by reflection for every message; most requests are valid, and for these a
few comparisons say so. What they do not accept goes to protovalidate, which alone says what is wrong. So a
rule that is not known here costs time and never a check: the message that carries it has no acceptance.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Test = Callable[[Any], bool]
_SCALARS: Final = ("float", "double", "int32", "int64", "uint32", "uint64")
# What means the same to Python and to RE2 when the whole text has to match.
_PATTERN: Final = re.compile(
    r"\^((?:[A-Za-z0-9_:-]|\[[A-Za-z0-9_.:-]+\]|\\\.|\{\d+(?:,\d+)?\}|[?*+()|])*)\$\Z"
)


class UnknownRuleError(LookupError):
    """A rule that is not compiled here."""


def acceptance(message: Descriptor) -> Test | None:
    """Return a function that is true only of messages without violations; None where that is not known."""
    try:
        return _Compiler().message(message) or _anything
    except UnknownRuleError:
        return None


def _anything(_value: Any) -> bool:
    return True


class _Compiler:
    """One run; remembers the messages that it is at, for those that hold themselves."""

    def __init__(self) -> None:
        self._at: set[str] = set()

    def message(self, message: Descriptor) -> Test | None:
        """Return the test of a message; None where it has no rules."""
        if _rules(message, validate_pb2.message) is not None:
            raise UnknownRuleError(f"rules of {message.full_name} itself")
        if message.full_name in self._at:
            raise UnknownRuleError(f"{message.full_name} holds itself")
        self._at.add(message.full_name)
        tests = [test for field in message.fields if (test := self._field(field)) is not None]
        for oneof in message.oneofs:
            rules = _rules(oneof, validate_pb2.oneof)
            if rules is not None and _known(rules, ("required",)).get("required"):
                tests.append(_one_of(oneof.name))
        self._at.discard(message.full_name)
        return _all(tests)

    def _field(self, field: FieldDescriptor) -> Test | None:
        rules = _rules(field, validate_pb2.field)
        kind = rules.WhichOneof("type") if rules is not None else None
        own = _known(rules, ("required", kind)) if rules is not None else {}
        required = bool(own.get("required"))
        test = self._value(field, kind, own.get(kind))
        if field.has_presence:
            return _present(field.name, test, required=required)
        if required:
            raise UnknownRuleError(f"required {field.full_name}")
        return None if test is None else _read(field.name, test)

    def _value(self, field: FieldDescriptor, kind: str | None, rules: Any) -> Test | None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return self._map(field.message_type, rules if kind == "map" else None)
        if field.is_repeated:
            return self._list(field, rules if kind == "repeated" else None)
        return self._one(field, kind, rules)

    def _one(self, field: FieldDescriptor, kind: str | None, rules: Any) -> Test | None:
        if field.message_type is not None:
            if rules is not None:
                raise UnknownRuleError(f"{kind} of {field.full_name}")
            return self.message(field.message_type)
        return None if rules is None else _scalar(field, str(kind), rules)

    def _list(self, field: FieldDescriptor, rules: Any) -> Test | None:
        found = _known(rules, ("min_items", "max_items", "unique", "items")) if rules is not None else {}
        tests = _length(found.get("min_items"), found.get("max_items"))
        inner = found.get("items")
        kind = inner.WhichOneof("type") if inner is not None else None
        each = self._one(field, kind, _known(inner, (kind,)).get(kind) if inner is not None else None)
        if each is not None:
            tests.append(_each(each))
        if found.get("unique"):
            if field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
                raise UnknownRuleError(f"unique {field.full_name}")
            tests.append(lambda values: len(set(values)) == len(values))
        return _all(tests)

    def _map(self, pair: Descriptor, rules: Any) -> Test | None:
        found = _known(rules, ("min_pairs", "max_pairs", "keys", "values")) if rules is not None else {}
        tests = _length(found.get("min_pairs"), found.get("max_pairs"))
        for name, side in (("keys", "key"), ("values", "value")):
            inner = found.get(name)
            kind = inner.WhichOneof("type") if inner is not None else None
            about = pair.fields_by_name[side]
            each = self._one(about, kind, _known(inner, (kind,)).get(kind) if inner is not None else None)
            if each is not None:
                tests.append(_each_of(each, values=side == "value"))
        return _all(tests)


def _scalar(field: FieldDescriptor, kind: str, rules: Any) -> Test | None:
    if kind == "string":
        return _string(_known(rules, ("min_len", "max_len", "pattern", "in")))
    if kind == "bytes":
        found = _known(rules, ("min_len", "max_len"))
        return _all(_length(found.get("min_len"), found.get("max_len")))
    if kind == "enum":
        return _enum(field, _known(rules, ("defined_only", "not_in")))
    if kind in _SCALARS:
        return _number(_known(rules, ("gt", "gte", "lt", "lte")))
    raise UnknownRuleError(f"{kind} of {field.full_name}")


def _string(found: dict[str, Any]) -> Test | None:
    tests = _length(found.get("min_len"), found.get("max_len"))
    if "pattern" in found:
        tests.append(_matches(found["pattern"]))
    if "in" in found:
        tests.append(frozenset(found["in"]).__contains__)
    return _all(tests)


def _matches(pattern: str) -> Test:
    known = _PATTERN.match(pattern)
    if known is None or _alternates_at_the_top(known[1]):
        raise UnknownRuleError(f"pattern {pattern}")
    match = re.compile(known[1]).fullmatch
    return lambda value: match(value) is not None


def _alternates_at_the_top(pattern: str) -> bool:
    depth = 0
    for character in pattern:
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            return True
    return False


def _enum(field: FieldDescriptor, found: dict[str, Any]) -> Test:
    refused = frozenset(found.get("not_in", ()))
    if field.enum_type is None or not found.get("defined_only"):
        return lambda value: value not in refused
    return (frozenset(field.enum_type.values_by_number) - refused).__contains__


def _number(found: dict[str, Any]) -> Test | None:
    low = found.get("gte", found.get("gt"))
    high = found.get("lte", found.get("lt"))
    if low is not None and high is not None and low >= high:
        raise UnknownRuleError("bounds that leave out what is between them")
    known: dict[str, Callable[[Any], Test]] = {
        "gte": lambda bound: lambda value: value >= bound,
        "gt": lambda bound: lambda value: value > bound,
        "lte": lambda bound: lambda value: value <= bound,
        "lt": lambda bound: lambda value: value < bound,
    }
    return _all([known[name](bound) for name, bound in found.items()])


def _length(least: int | None, most: int | None) -> list[Test]:
    if least is None and most is None:
        return []
    if least is None or least == 0:
        return [lambda value: len(value) <= most] if most is not None else []
    if most is None:
        return [lambda value: len(value) >= least]
    return [lambda value: least <= len(value) <= most]


def _present(name: str, test: Test | None, *, required: bool) -> Test | None:
    if required:
        within = test or _anything
        return lambda message: message.HasField(name) and within(getattr(message, name))
    if test is None:
        return None
    return lambda message: not message.HasField(name) or test(getattr(message, name))


def _read(name: str, test: Test) -> Test:
    return lambda message: test(getattr(message, name))


def _one_of(name: str) -> Test:
    return lambda message: message.WhichOneof(name) is not None


def _each(test: Test) -> Test:
    def every(values: Any) -> bool:
        for value in values:  # noqa: SIM110  a generator expression costs more than the tests
            if not test(value):
                return False
        return True

    return every


def _each_of(test: Test, *, values: bool) -> Test:
    every = _each(test)
    return (lambda pairs: every(pairs.values())) if values else every


def _all(tests: list[Test]) -> Test | None:
    if len(tests) < 2:
        return tests[0] if tests else None
    together = tuple(tests)

    def every(value: Any) -> bool:
        for test in together:  # noqa: SIM110  a generator expression costs more than the tests
            if not test(value):
                return False
        return True

    return every


def _rules(described: Any, extension: Any) -> Any:
    options = described.GetOptions()
    return options.Extensions[extension] if options.HasExtension(extension) else None


def _known(rules: Message, names: tuple[str | None, ...]) -> dict[Any, Any]:
    """Return the rules that are set, by name; a rule of another name is one too many."""
    found = {field.name: value for field, value in rules.ListFields()}
    if strange := found.keys() - set(names):
        raise UnknownRuleError(f"rules {sorted(strange)}")
    return found
