"""Every RPC of the edge with random messages and with damaged bytes, over gRPC and TLS.

Whatever arrives, the answer is a result or a refusal with a reason: never INTERNAL or UNKNOWN, never
a server that does not answer, never later than the call's deadline.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message_factory import GetMessageClass

from mesh.runtime.status import RemoteFailure, read
from tests.attacks.fuzz.cases import TALLY, random_of, share
from tests.attacks.fuzz.messages import Messages, damaged
from tests.support.edge import Edge
from tests.support.methods import Method, with_token
from tests.support.stack import Stack

METHODS = tuple(with_token())
SECONDS = 30.0
AT_ONCE = 8
BROKEN = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
}
# A model of the tenant's own at an address where nobody answers is unavailable in truth.
UNAVAILABLE_IN_TRUTH = {"MODEL_UNAVAILABLE"}


@pytest.fixture(scope="module")
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    credentials = grpc.ssl_channel_credentials(stack.ca_file.read_bytes())
    options = (("grpc.max_receive_message_length", 64 * 1024 * 1024),)
    async with grpc.aio.secure_channel(stack.grpc_target, credentials, options) as made:
        yield made


@pytest.fixture(scope="module")
async def user(stack: Stack, edge: Edge) -> Edge:
    """The owner of a tenant of this module's own."""
    return edge.as_user((await stack.new_tenant()).api_key)


@pytest.fixture(scope="module")
async def known(user: Edge) -> dict[str, list[Any]]:
    """Values that exist, by the name of the field that takes them."""
    session = await user.session("bootstrap")
    turn = await user.post(
        f"/v1/sessions/{session}/turns", {"input": {"text": "Hi"}, "options": {"max_tokens": 2}}
    )
    memory = await user.post("/v1/memories", {"text": "a fact"})
    document = await user.post(
        "/v1/documents", {"media_type": "text/plain", "content": "eA==", "source": "a"}
    )
    return {
        "session_id": [session],
        "turn_id": [turn.body["id"]],
        "memory_id": [memory.body["id"]],
        "document_id": [document.body["id"]],
        "id": [session, turn.body["id"], memory.body["id"], document.body["id"]],
        "persona": ["guide", "bootstrap"],
        "model": ["slm", "embed", "extract"],
        # What a model may say at most: a long answer is no strange input.
        "max_tokens": [0, 1, 2, 2**32 - 1],
        "min_tokens": [0],
        "max_output_tokens": [1, 2],
        "page_size": [0, 1, 10],
        "request_id": [uuid.uuid4().hex],
        "media_type": ["text/plain", "text/markdown", "text/html", "application/pdf"],
        "page_token": ["", "x", "MDow", "1:"],
    }


class Caller:
    """Calls with a key that some calls revoke: it is replaced by the key of `owner`, which none sees."""

    def __init__(self, channel: grpc.aio.Channel, owner: Edge, key: str) -> None:
        self.channel = channel
        self.key = key
        self.refused: Counter[grpc.StatusCode] = Counter()
        self._owner = owner
        self._renewing = asyncio.Lock()

    @classmethod
    async def of(cls, channel: grpc.aio.Channel, owner: Edge) -> Caller:
        """Start with a first key."""
        return cls(channel, owner, await _key(owner))

    async def call(self, method: Method, content: bytes) -> None:
        """Call once; with a new key once more where the key had been revoked."""
        for _ in range(3):
            key = self.key
            if await _call(self.channel, key, method, content) is not grpc.StatusCode.UNAUTHENTICATED:
                return
            self.refused[grpc.StatusCode.UNAUTHENTICATED] += 1
            async with self._renewing:
                if key == self.key:
                    self.key = await _key(self._owner)


async def _key(owner: Edge) -> str:
    answer = await owner.post("/v1/keys", {"display_name": "fuzz"})
    assert answer.status == 200, answer
    return str(answer.body["secret"])


async def _call(channel: grpc.aio.Channel, key: str, method: Method, content: bytes) -> grpc.StatusCode:
    """Send bytes as one call; the answer must be a result or a refusal with a reason."""
    began = time.monotonic()
    failure = await _failure(channel, key, method, content)
    assert time.monotonic() - began < SECONDS + 5, f"{method} {content[:400]!r} passed its deadline"
    if failure is None:
        return grpc.StatusCode.OK
    said = f"{method} {content[:400]!r}: {failure}"
    assert failure.reason, said
    assert failure.code not in BROKEN, said
    assert failure.code is not grpc.StatusCode.UNAVAILABLE or failure.reason in UNAVAILABLE_IN_TRUTH, said
    return failure.code


async def _failure(
    channel: grpc.aio.Channel, key: str, method: Method, content: bytes
) -> RemoteFailure | None:
    metadata = (("authorization", f"Bearer {key}"),)
    try:
        if method.contract.response_streaming:
            stream: Any = channel.unary_stream(method.contract.path)(
                content, metadata=metadata, timeout=SECONDS
            )
            await stream.read()
            stream.cancel()
        else:
            await channel.unary_unary(method.contract.path)(content, metadata=metadata, timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        return read(error)
    return None


async def _storm(
    channel: grpc.aio.Channel, owner: Edge, family: str, count: int, make: Callable[[Method], bytes]
) -> None:
    """Send `count` calls, some at once, every method as often as the others."""
    caller = await Caller.of(channel, owner)
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            method = METHODS[number % len(METHODS)]
            await caller.call(method, make(method))
            TALLY[family] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())
    assert caller.refused.total() < count / 5, "most calls ended at the edge"


@pytest.mark.timeout(7200)
async def test_random_messages_are_answered_or_refused(
    channel: grpc.aio.Channel, user: Edge, known: dict[str, list[Any]], steady: None
) -> None:
    family = "messages over gRPC"
    messages = Messages(random_of(family), known)

    def make(method: Method) -> bytes:
        message = GetMessageClass(method.descriptor.input_type)()
        return bytes(messages.fill(message).SerializeToString())

    await _storm(channel, user, family, share(family), make)


@pytest.mark.timeout(7200)
async def test_damaged_bytes_are_answered_or_refused(
    channel: grpc.aio.Channel, user: Edge, known: dict[str, list[Any]], steady: None
) -> None:
    family = "bytes over gRPC"
    rng = random_of(family)
    messages = Messages(rng, known)

    def make(method: Method) -> bytes:
        message = GetMessageClass(method.descriptor.input_type)()
        return damaged(messages.fill(message).SerializeToString(), rng)

    await _storm(channel, user, family, share(family), make)
