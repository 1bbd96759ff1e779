# ruff: noqa: E501, PT017 - a case on a line reads better; what hypothesis makes may be good or bad
"""Every parser of ours that reads what others wrote: whatever it reads, it answers in its own words.

Hypothesis makes the bytes; a parser gives a value or the one error of its contract, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc as qdrant
from soma.audit.v1 import resources_pb2 as audit_pb
from soma.identity.v1 import service_pb2 as identity_pb
from soma.policy.v1 import resources_pb2 as policy_pb

from mesh.events.records import header_values
from mesh.inference.addresses import AddressPolicy
from mesh.inference.http import events
from mesh.policy.errors import BundleRefusedError
from mesh.policy.rules import number, parse_bundle, parse_rule, rule_message
from mesh.runtime.errors import InvalidArgument, SomaError, Unauthenticated
from mesh.runtime.status import shortened
from mesh.stack import overrides
from mesh.stack.client_file import VARIABLES, ClientFile
from mesh.stack.errors import StackError
from mesh.stack.vectors import filters
from mesh.stack.vectors.errors import RefusedError, from_engine
from mesh.stack.vectors.protocol import messages as vectors_pb
from mesh.trust.state import TrustState
from mesh.trust.verifier import TokenVerifier
from services.audit.domain import chain
from services.gateway import chat, embeddings
from services.memory.reading.blocks import Bounds, UnreadableError
from services.memory.reading.document import READERS, read
from tests.attacks.fuzz.cases import TALLY, examples, random_of
from tests.attacks.fuzz.messages import Messages, damaged
from tests.unit.memory.pdf import pdf_of

PARTS = 20
PDF = pdf_of("A page.", "Another page of text.")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["model", "messages", "role", "content", "stop", "stream", "seed", "n", "tools", "input", "encoding_format",
     "temperature", "max_tokens", "stream_options", "dimensions", "user", "type", "text", "include_usage"]
)  # fmt: skip
SEEDS = st.integers(0, 2**63)


def body_of(value: Any) -> bytes:
    """JSON with what JSON has no word for (NaN) and with escapes of single surrogates."""
    return json.dumps(value).encode()


def filled(message: Message, seed: int, *, damage: bool) -> bytes:
    """The bytes of a random message, whole or damaged."""
    rng = random_of(f"parsers {seed}")
    content = Messages(rng, {}).fill(message).SerializeToString()
    return damaged(content, rng) if damage else content


@examples(PARTS)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")), st.booleans())
def test_token_verifier(text: str, compact: bool) -> None:
    TALLY["parser: tokens"] += 1
    state = TrustState(wall=lambda: 0.0, monotonic=lambda: 0.0)
    state.accept(identity_pb.WatchTrustResponse(reset=True))
    with pytest.raises(Unauthenticated):
        TokenVerifier(state).verify(f"eyJhbGciOiJFUzI1NiJ9.{text}.{text}" if compact else text)


@examples(PARTS)
@given(SEEDS, st.booleans())
def test_policy_bundle(seed: int, damage: bool) -> None:
    TALLY["parser: policy bundles"] += 1
    try:
        bundle = parse_bundle(filled(policy_pb.Bundle(), seed, damage=damage))
    except BundleRefusedError:
        return
    assert bundle.version >= 1


@examples(PARTS)
@given(
    st.sampled_from(["sessions.create", "x", "*", "a.*", "A B", "\n", ""]),
    st.sampled_from(["principal.scopes", "principal.nosuch", "model", "a.b", "\u00e9", ""]),
    st.integers(-1, 12),
    st.lists(st.text(max_size=12) | st.sampled_from(["1e400", "nan", "-0", "1_0", "\u0661"]), max_size=3),
)
def test_policy_conditions(action: str, attribute: str, operator: int, values: list[str]) -> None:
    TALLY["parser: policy conditions"] += 1
    condition = policy_pb.Condition(attribute=attribute, values=values)
    condition.operator = operator  # type: ignore[assignment]  # numbers that the contract does not know, too
    message = policy_pb.Rule(id="r", effect=policy_pb.EFFECT_ALLOW, actions=[action], conditions=[condition])
    try:
        rule = parse_rule(message)
    except BundleRefusedError:
        return
    assert parse_rule(rule_message(rule)) == rule


@examples(PARTS)
@given(st.text() | st.integers() | st.floats() | st.booleans())
def test_numbers_of_conditions(value: object) -> None:
    TALLY["parser: numbers"] += 1
    found = number(value)
    assert found is None or math.isfinite(found)


@examples(PARTS)
@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50)), max_size=8))
def test_record_headers(headers: list[tuple[str, bytes]]) -> None:
    TALLY["parser: record headers"] += 1
    assert set(header_values(headers)) <= {name for name, _ in headers}


@examples(PARTS)
@given(st.dictionaries(NAMES | st.text(max_size=9), JSON, max_size=8))
def test_chat_completions(body: dict[str, Any]) -> None:
    TALLY["parser: chat completions"] += 1
    _chat(body_of(body))


@examples(PARTS)
@given(
    st.lists(
        st.dictionaries(NAMES, JSON | st.sampled_from(["user", "text", "system"]), max_size=4), max_size=3
    ),
    st.dictionaries(NAMES, JSON, max_size=3),
)
def test_chat_messages(messages: list[Any], others: dict[str, Any]) -> None:
    TALLY["parser: chat messages"] += 1
    _chat(body_of({"model": "guide", **others, "messages": messages}))


@examples(PARTS)
@given(st.binary(max_size=300) | st.text().map(lambda text: b'{"model":"' + text.encode(errors="replace")))
def test_bodies_that_are_no_json(body: bytes) -> None:
    TALLY["parser: bodies"] += 1
    _chat(body)
    _embedding(body)


@examples(PARTS)
@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_embeddings(body: dict[str, Any]) -> None:
    TALLY["parser: embeddings"] += 1
    _embedding(body_of({"model": "embed", "input": "x", **body}))


def _chat(body: bytes) -> None:
    try:
        request = chat.parse_chat(body)
    except InvalidArgument as refused:
        refused.message.encode()
        return
    for message in request.messages:
        message.text.encode()


def _embedding(body: bytes) -> None:
    try:
        request = embeddings.parse_embedding(body)
    except InvalidArgument as refused:
        refused.message.encode()
        return
    for text in request.texts:
        text.encode()


MARKUP = st.lists(
    st.sampled_from(
        ["<div>", "</div>", "<p", ">", "<!--", "-->", "<table><tr><td>", "</td>", "&amp;", "&#xD800;", "&#0;", "<pre>",
         "# ", "- ", "> ", "```", "`", "*", "**", "_", "[", "](", ")", "![", "|", "|-|", "\n", "\n\n", "    ", "<h1>",
         "</h1>", "\x00", "\r", "\u2028", "word ", "---\n", "1. ", "\\", "<script>", "</script>", "<li>", "text."]
    )
    | st.text(max_size=6),
    max_size=60,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("media_type", READERS)
@examples(PARTS)
@given(st.binary(max_size=2000) | MARKUP.map(lambda text: text.encode(errors="replace")), SEEDS)
def test_documents(media_type: str, content: bytes, seed: int) -> None:
    TALLY[f"parser: {media_type}"] += 1
    if media_type == "application/pdf":
        content = damaged(PDF, random_of(str(seed)))
    try:
        reading = read(content, media_type, Bounds())
    except UnreadableError as refused:
        assert str(refused)
        return
    assert all(passage.text for passage in reading.passages)


@examples(PARTS)
@given(SEEDS, st.booleans())
def test_filters_of_the_vector_server(seed: int, damage: bool) -> None:
    TALLY["parser: vector filters"] += 1
    message = vectors_pb.Filter()
    with contextlib.suppress(DecodeError):
        message.ParseFromString(filled(qdrant.Filter(), seed, damage=damage))
    try:
        filters.read(message)
    except RefusedError as refused:
        assert str(refused)
    except ValueError as error:  # of the engine; the server answers it so
        assert from_engine(error).code is grpc.StatusCode.INVALID_ARGUMENT


@examples(PARTS)
@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"data: {}\n", b"\n", b"event: x\n", b"data:\r\n"]),
        max_size=12,
    )
)
async def test_events_of_providers(pieces: list[bytes]) -> None:
    TALLY["parser: events of providers"] += 1

    async def source() -> Any:
        for piece in pieces:
            yield piece

    try:
        found = [event async for event in events(source())]
    except ValueError:
        return
    assert all("\n\n" not in event.name for event in found)


@examples(PARTS)
@given(st.text(max_size=80) | st.text(max_size=20).map(lambda text: f"https://{text}/"))
def test_addresses_of_providers(url: str) -> None:
    TALLY["parser: addresses"] += 1
    try:
        AddressPolicy().check_url(url)
    except SomaError as refused:
        assert refused.reason in ("INVALID_ARGUMENT", "PROVIDER_REFUSED")


@examples(PARTS)
@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f"A={text}\n".encode(errors="replace"))
)
def test_override_files(content: bytes) -> None:
    TALLY["parser: override files"] += 1
    try:
        found = overrides.parse(content, Path("overrides.env"))
    except StackError:
        return
    assert all(name and value.isprintable() for name, value in found.items())


@examples(PARTS)
@given(
    st.binary(max_size=100)
    | JSON.map(body_of)
    | st.dictionaries(st.sampled_from(list(VARIABLES)), JSON).map(body_of)
)
def test_client_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    TALLY["parser: client files"] += 1
    path = tmp_path_factory.getbasetemp() / "client.json"
    path.write_bytes(content)
    try:
        found = ClientFile.read(path)
    except StackError as refused:
        assert str(path) in str(refused)
        return
    assert found is not None


@examples(PARTS)
@given(SEEDS, st.binary(max_size=40), st.binary(max_size=200))
def test_chain_of_audit_records(seed: int, previous: bytes, record: bytes) -> None:
    """Two different pairs never have one hash, and a record that was changed fits no more."""
    TALLY["parser: audit records"] += 1
    content = filled(audit_pb.AuditRecord(), seed, damage=False)
    assert chain.link_hash(previous, content) == chain.link_hash(previous, content)
    if record != content:
        assert chain.link_hash(previous, record) != chain.link_hash(previous, content)


@examples(PARTS)
@given(st.text(), st.integers(0, 40))
def test_shortening(text: str, longest: int) -> None:
    TALLY["parser: shortening"] += 1
    found = shortened(text, longest)
    assert len(found.encode()) <= longest
    assert text.encode(errors="replace").decode().startswith(found)
