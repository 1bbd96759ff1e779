"""The interceptor chain over real mTLS: who is let in, and how each refusal looks."""

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mesh.runtime.certificates import Certificates
from mesh.runtime.status import RemoteFailure, read
from tests.support.echo.serving import Served, pb, pb_grpc

WRITER = (("authorization", "Bearer writer"),)
READER = (("authorization", "Bearer reader"),)
Code = grpc.StatusCode


async def failure(call: Any) -> RemoteFailure:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return read(raised.value)


async def words(responses: AsyncIterator[Any]) -> list[str]:
    return [response.text async for response in responses]


async def test_a_call_knows_its_caller_tenant_subject_and_trace(served: Served, stub_to: Any) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    metadata = (*WRITER, ("x-request-id", "given-1"), ("traceparent", trace))
    said = await stub_to(served).Say(pb.SayRequest(text="hi", tenant="ten_a"), metadata=metadata)
    assert (said.caller, said.tenant, said.subject) == ("gateway", "ten_a", "usr_w")
    assert said.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert said.call_id == "given-1"


@pytest.mark.parametrize("given", ["", "has space", "x" * 129, 'quote"'])
async def test_a_malformed_request_id_is_replaced(given: str, served: Served, stub_to: Any) -> None:
    metadata = (*WRITER, ("x-request-id", given))
    said = await stub_to(served).Say(pb.SayRequest(text="hi"), metadata=metadata)
    assert said.call_id.startswith("req_")


@pytest.mark.parametrize(
    ("metadata", "code", "reason"),
    [
        ((), Code.UNAUTHENTICATED, "TOKEN_MISSING"),
        ((("authorization", "Basic dTpw"),), Code.UNAUTHENTICATED, "TOKEN_MISSING"),
        ((("authorization", "Bearer "),), Code.UNAUTHENTICATED, "TOKEN_MISSING"),
        ((("authorization", "Bearer forged"),), Code.UNAUTHENTICATED, "TOKEN_INVALID"),
        ((("authorization", "Bearer homeless"),), Code.PERMISSION_DENIED, "TENANT_MISMATCH"),
        ((*WRITER, ("x-soma-tenant", "ten_b")), Code.PERMISSION_DENIED, "TENANT_MISMATCH"),
        (READER, Code.PERMISSION_DENIED, "SCOPE_MISSING"),
    ],
)
async def test_who_may_not_is_refused_with_the_reason(
    metadata: Any, code: Code, reason: str, served: Served, stub_to: Any
) -> None:
    told = await failure(stub_to(served).Say(pb.SayRequest(text="hi"), metadata=metadata))
    assert (told.code, told.reason) == (code, reason)


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (pb.SayRequest(), Code.INVALID_ARGUMENT, "text"),
        (
            pb.SayRequest(text="x", parts=[pb.Part(text="a"), pb.Part()]),
            Code.INVALID_ARGUMENT,
            "parts[1].text",
        ),
        (pb.SayRequest(text="x" * 1001), Code.INVALID_ARGUMENT, "text"),
        (pb.SayRequest(text="x", tenant="ten_b"), Code.PERMISSION_DENIED, None),
        (pb.SayRequest(text="x", parts=[pb.Part(text="a", tenant="ten_b")]), Code.PERMISSION_DENIED, None),
    ],
    ids=["missing", "nested", "too long", "tenant", "nested tenant"],
)
async def test_a_bad_request_is_refused_by_the_field(
    request_: Any, code: Code, field: str | None, served: Served, stub_to: Any
) -> None:
    told = await failure(stub_to(served).Say(request_, metadata=WRITER))
    assert told.code is code
    assert [violation[0] for violation in told.violations] == ([field] if field else [])
    if field:
        assert told.message.startswith(f"field {field}: ")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((*WRITER, *WRITER), "TOKEN_INVALID"),
        ((*READER, *WRITER), "TOKEN_INVALID"),
        ((*WRITER, ("x-soma-tenant", "ten_a"), ("x-soma-tenant", "ten_a")), "TENANT_MISMATCH"),
    ],
)
async def test_a_name_that_decides_may_come_once_only(
    metadata: Any, reason: str, served: Served, pki: Path
) -> None:
    """Through a channel of gRPC's own: the mesh's channels send each name once."""
    own = Certificates(pki / "gateway").current
    credentials = grpc.ssl_channel_credentials(own.authority, own.key, own.chain)
    options = (("grpc.ssl_target_name_override", "memory.soma"),)
    async with grpc.aio.secure_channel(served.target, credentials, options) as channel:
        stub = pb_grpc.EchoStub(channel)
        assert (await stub.Say(pb.SayRequest(text="hi"), metadata=WRITER)).tenant == "ten_a"
        told = await failure(stub.Say(pb.SayRequest(text="hi"), metadata=metadata))
    assert told.reason == reason


async def test_a_workload_that_is_not_listed_is_refused(served: Served, stub_to: Any) -> None:
    told = await failure(stub_to(served, "audit").Say(pb.SayRequest(text="hi"), metadata=WRITER))
    assert (told.code, told.reason) == (Code.PERMISSION_DENIED, "WORKLOAD_DENIED")
    assert told.metadata["workload"] == "audit"


async def test_a_public_method_needs_no_token_but_a_listed_workload(served: Served, stub_to: Any) -> None:
    assert await stub_to(served).Wave(pb.WaveRequest()) == pb.WaveResponse()
    told = await failure(stub_to(served, "audit").Wave(pb.WaveRequest()))
    assert told.reason == "WORKLOAD_DENIED"


async def test_a_workload_acts_for_the_tenant_that_it_names(served: Served, stub_to: Any) -> None:
    stub = stub_to(served, "orchestrator")
    relayed = await stub.Relay(pb.RelayRequest(), metadata=(("x-soma-tenant", "ten_z"),))
    assert (relayed.tenant, relayed.caller) == ("ten_z", "orchestrator")
    told = await failure(stub.Relay(pb.RelayRequest()))
    assert (told.code, told.reason) == (Code.PERMISSION_DENIED, "TENANT_MISMATCH")


async def test_the_edge_acts_for_nobody(served: Served, stub_to: Any) -> None:
    metadata = (*WRITER, ("x-soma-tenant", "ten_a"))
    told = await failure(stub_to(served, "edge").Relay(pb.RelayRequest(), metadata=metadata))
    assert told.reason == "WORKLOAD_DENIED"


async def test_a_mutation_is_named_and_its_digest_leaves_the_name_out(served: Served, stub_to: Any) -> None:
    stub = stub_to(served)
    one = await stub.Say(pb.SayRequest(request_id="r1", text="hi"), metadata=WRITER)
    two = await stub.Say(pb.SayRequest(request_id="r2", text="hi"), metadata=WRITER)
    other = await stub.Say(pb.SayRequest(request_id="r1", text="ho"), metadata=WRITER)
    assert (one.request_id, two.request_id) == ("r1", "r2")
    assert one.digest == two.digest != other.digest
    plain = pb.SayRequest(text="hi").SerializeToString(deterministic=True)
    assert one.digest == hashlib.sha256(plain).digest()


@pytest.mark.parametrize(
    ("what", "code", "reason"),
    [
        ("not_found", Code.NOT_FOUND, "NOT_FOUND"),
        ("exhausted", Code.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
        ("internal", Code.INTERNAL, "INTERNAL"),
        ("unexpected", Code.INTERNAL, "INTERNAL"),
        ("postgres", Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
        ("redis", Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
        ("kafka", Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
        ("socket", Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
    ],
)
async def test_a_failure_tells_its_reason_and_no_secret(
    what: str, code: Code, reason: str, served: Served, stub_to: Any
) -> None:
    told = await failure(stub_to(served).Hear(pb.HearRequest(what=what), metadata=READER))
    assert (told.code, told.reason) == (code, reason)
    assert "secret" not in told.message
    assert told.metadata["request_id"]
    assert (told.retry_after is not None) == (code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED))


@pytest.mark.parametrize("method", ["Recite", "ReciteRaw"])
async def test_streams_pass_in_order_as_messages_and_as_bytes(
    method: str, served: Served, stub_to: Any
) -> None:
    request = getattr(pb, f"{method}Request")(count=100)
    found = await words(getattr(stub_to(served), method)(request, metadata=READER))
    assert found == [f"word {number}" for number in range(100)]


async def test_a_stream_that_fails_gives_its_words_first(served: Served, stub_to: Any) -> None:
    found: list[str] = []
    responses = stub_to(served).Recite(pb.ReciteRequest(count=3, then="not_found"), metadata=READER)

    async def read_on() -> None:
        while True:
            found.append((await responses.read()).text)

    told = await failure(read_on())
    assert len(found) == 3
    assert told.reason == "NOT_FOUND"


async def test_a_stream_is_refused_like_a_call(served: Served, stub_to: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await words(stub_to(served).Recite(pb.ReciteRequest(count=1)))
    assert read(raised.value).reason == "TOKEN_MISSING"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await words(stub_to(served).Recite(pb.ReciteRequest(count=100_001), metadata=READER))
    assert read(raised.value).violations[0][0] == "count"


async def test_each_message_of_a_request_stream_is_validated(served: Served, stub_to: Any) -> None:
    async def said(*texts: str) -> AsyncIterator[Any]:
        for text in texts:
            yield pb.ConverseRequest(text=text)

    stub = stub_to(served)
    assert await words(stub.Converse(said("a", "b"), metadata=READER)) == ["a", "b"]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await words(stub.Converse(said("a", ""), metadata=READER))
    assert read(raised.value).violations[0][0] == "text"


async def test_a_request_stream_with_one_answer_works(served: Served, stub_to: Any) -> None:
    async def said() -> AsyncIterator[Any]:
        for text in ("a", "b", "c"):
            yield pb.GatherRequest(text=text)

    assert (await stub_to(served).Gather(said(), metadata=READER)).text == "a b c"


async def test_a_message_over_the_limit_is_refused(served: Served, stub_to: Any) -> None:
    told = await failure(stub_to(served).Hear(pb.HearRequest(what="x" * (5 << 20)), metadata=READER))
    assert told.code is Code.RESOURCE_EXHAUSTED


async def test_calls_are_counted_with_the_refused_ones(served: Served, stub_to: Callable[..., Any]) -> None:
    stub = stub_to(served)
    series = served.process.stats.open("soma.testing.v1.Echo", "Gather", "gateway")
    before = dict(series.codes)

    async def nothing() -> AsyncIterator[Any]:
        for text in ():
            yield text

    await stub.Gather(nothing(), metadata=READER)
    await failure(stub.Gather(nothing()))
    assert series.codes["OK"] == before.get("OK", 0) + 1
    assert series.codes["UNAUTHENTICATED"] == before.get("UNAUTHENTICATED", 0) + 1
