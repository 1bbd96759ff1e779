"""Compressed bodies and messages, and messages nested in messages: nothing is inflated, nothing recurses.

The edge takes no `content-encoding`: a compressed body is bytes that are no JSON. gRPC inflates only up to
the bound of a message, and not at all before the edge has seen a token.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
import pytest

from mesh.runtime.status import read
from tests.attacks.steadiness import Steadiness
from tests.support.edge import Edge
from tests.support.stack import Stack

SPACES = b'{"query":"x"' + b" " * (256 * 1024 * 1024) + b"}"
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, 9),
    "deflate": lambda content: zlib.compress(content, 9),
    "br": lambda content: b"\x0b\x02\x80" + content[:64],
    "gzip, gzip": lambda content: gzip.compress(gzip.compress(content, 9), 9),
}
RECALL = "/soma.memory.v1.Memories/Recall"
TURN = "/soma.orchestrator.v1.Turns/CreateTurn"
DECIDE = "/soma.policy.v1.Decisions/Evaluate"


@pytest.fixture(scope="module")
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    credentials = grpc.ssl_channel_credentials(stack.ca_file.read_bytes())
    async with grpc.aio.secure_channel(stack.grpc_target, credentials) as made:
        yield made


async def test_a_compressed_body_is_not_inflated(stack: Stack, edge: Edge) -> None:
    before = await Steadiness.of(stack)
    for encoding, compress in ENCODINGS.items():
        for path in ("/v1/memories:recall", "/v1/chat/completions"):
            headers = {"content-encoding": encoding}
            answer = await edge.call("POST", path, raw=compress(SPACES), **headers)
            assert 400 <= answer.status < 500, (encoding, path, answer)
    await before.check(growth=128 * 1024 * 1024)


async def test_a_message_that_inflates_past_its_bound_is_refused(
    stack: Stack, edge: Edge, channel: grpc.aio.Channel
) -> None:
    before = await Steadiness.of(stack)
    metadata = (("authorization", f"Bearer {edge.key}"),)
    content = b"\x0a\xff\xff\xff\x7f" + b"x" * (256 * 1024 * 1024)
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        for path in (RECALL, TURN):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(path)(
                    content, metadata=metadata, compression=compression, timeout=60
                )
            assert refused.value.code() in (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.INVALID_ARGUMENT,
            ), refused.value
    await before.check()
    assert (await edge.get("/healthz")).status == 200


def _nested(tag: int, depth: int) -> bytes:
    """A message in field `tag` of a message, and so on."""
    content = b""
    for _ in range(depth):
        size, length = len(content), b""
        while True:
            length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
            size >>= 7
            if not size:
                break
        content = bytes([tag << 3 | 2]) + length + content
        if len(content) > 1024 * 1024:
            break
    return content


@pytest.mark.parametrize("path", [RECALL, TURN, DECIDE])
async def test_messages_in_messages_are_answered_or_refused(
    edge: Edge, channel: grpc.aio.Channel, path: str
) -> None:
    metadata = (("authorization", f"Bearer {edge.key}"),)
    groups = [bytes([tag << 3 | 3]) * 50_000 for tag in (1, 2, 15)]
    for content in [_nested(tag, 2_000) for tag in range(1, 9)] + groups:
        try:
            await channel.unary_unary(path)(content, metadata=metadata, timeout=60)
        except grpc.aio.AioRpcError as error:
            failure = read(error)
            codes = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
            if failure.code not in codes or not failure.reason:
                raise
