"""What acceptance says must be what protovalidate says, for every request of the product."""

import importlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import protovalidate
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.runtime.acceptance import acceptance
from mesh.runtime.contract import service_contracts
from tests.support.echo.contract import SERVICE, modules

GENERATED = Path(__file__).resolve().parents[3] / "gen" / "python"
EXAMPLES = int(os.environ.get("SOMA_TEST_EXAMPLES", "12"))
"""For each request; a thorough run takes 1000."""
VALIDATOR = protovalidate.Validator()
FALLS_BACK = {"soma.identity.v1.CreateTenantRequest", "soma.identity.v1.CreateUserRequest"}
"""Their rule `email` is protovalidate's alone."""
NUMBERS = [-1, 0, 1, 2, 3, 10, 50, 51, 100, 101, 500, 501, 1000, 1001, 4096, 100_000, 100_001]
WORDS = [
    "", "a", "A", "é", "guide", "a b", "a\n", "x" * 63, "x" * 64, "x" * 128, "x" * 129, "é" * 256, "x" * 257,
    "x" * 1024, "x" * 1025, "ses_" + "0" * 32, "ses_" + "0" * 32 + "\n", "trn_" + "f" * 32, "trn_" + "F" * 32,
    "usr_" + "0" * 32, "doc_" + "0" * 32, "mem_" + "0" * 32, "key_" + "0" * 32, "tnt_" + "0" * 32,
    "turns.write", "turns.", "text/plain", "text/x", "req:1-2._", "req 1", "a@b.org", "qwen2.5-1b", "\0",
]  # fmt: skip
NUMERIC = {
    FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64,
}  # fmt: skip
REAL = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}


def requests() -> Iterator[Descriptor]:
    """Every request of the product, and those of the tests' own service."""
    for file in sorted(GENERATED.glob("soma/**/service_pb2.py")):
        name = ".".join(file.relative_to(GENERATED).with_suffix("").parts)
        for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield method.input_type
    modules()
    yield from (each.request() for each in service_contracts(SERVICE).values())


REQUESTS = list({each.full_name: each for each in requests()}.values())


def scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values at and beyond the bounds that the contracts draw."""
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING and field.type == FieldDescriptor.TYPE_BYTES:
        return st.sampled_from([b"", b"x", b"x" * 100])
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return st.sampled_from(WORDS) | st.text(max_size=8)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([*field.enum_type.values_by_number, 99])
    if kind in REAL:
        return st.sampled_from([*map(float, NUMBERS), 0.5, 2.0, 2.1, math.nan, math.inf, -math.inf])
    assert kind in NUMERIC
    unsigned = kind in {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
    return st.sampled_from([number for number in NUMBERS if number >= 0 or not unsigned])


def fill(draw: st.DrawFn, message: Any, depth: int = 0) -> None:
    """Set some fields."""
    for field in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        if field.message_type is not None:
            fill_message(draw, message, field, depth)
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(scalar(field), max_size=4)))
        else:
            setattr(message, field.name, draw(scalar(field)))


def fill_message(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    """Set a field that holds messages, or pairs."""
    inner, held = field.message_type, getattr(message, field.name)
    if inner.GetOptions().map_entry:
        key, value = inner.fields_by_name["key"], inner.fields_by_name["value"]
        if value.message_type is None:
            held.update(draw(st.dictionaries(scalar(key), scalar(value), max_size=3)))
    elif field.is_repeated:
        for _ in range(draw(st.sampled_from([0, 1, 2, 40]))):
            fill(draw, held.add(), depth + 1)
    else:
        held.SetInParent()
        if depth < 4 and not inner.full_name.startswith("google."):
            fill(draw, held, depth + 1)


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor) -> Message:
    """A message with some fields set, well or badly."""
    message: Message = GetMessageClass(descriptor)()
    fill(draw, message)
    return message


@pytest.mark.parametrize("descriptor", REQUESTS, ids=lambda each: each.full_name)
def test_nothing_is_accepted_that_breaks_a_rule_and_nothing_sent_on_that_does_not(
    descriptor: Descriptor,
) -> None:
    accepts = acceptance(descriptor)
    assert (accepts is None) == (descriptor.full_name in FALLS_BACK)
    if accepts is None:
        return

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(message=messages(descriptor))
    def agrees(message: Message) -> None:
        assert accepts(message) is not bool(VALIDATOR.collect_violations(message))

    agrees()


def test_a_line_break_does_not_end_a_pattern() -> None:
    pb, _ = modules()
    assert acceptance(pb.SayRequest.DESCRIPTOR)(pb.SayRequest(text="x"))
    from soma.orchestrator.v1 import service_pb2

    accepts = acceptance(service_pb2.GetSessionRequest.DESCRIPTOR)
    assert accepts is not None
    assert accepts(service_pb2.GetSessionRequest(session_id="ses_" + "0" * 32))
    assert not accepts(service_pb2.GetSessionRequest(session_id="ses_" + "0" * 32 + "\n"))
