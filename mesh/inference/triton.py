"""Triton: answers by `ModelStreamInfer`, vectors by `ModelInfer`, over raw protobuf."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final, Self

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2 as triton_pb  # type: ignore[import-untyped]  # ships no types
from tritonclient.grpc import service_pb2_grpc as triton_rpc

from mesh.inference import dialects, tensors
from mesh.inference import errors as failures
from mesh.inference.ports import Chunk, Embeddings, GenerationRequest
from mesh.runtime.errors import SomaError

EMBED_BATCH: Final = 32
"""Texts in one request: the best of bulk ingest on CPU; more adds latency and no throughput."""
_CONCURRENT_BATCHES: Final = 2
_END_SECONDS: Final = 5.0
_EOF: Final = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs have forgotten it
_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
)


class Triton:
    """A client of one Triton server: `ports.Generator` and `ports.Embedder`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Use `channel`, which the caller closes; `Triton.open` makes one."""
        self._stub = triton_rpc.GRPCInferenceServiceStub(channel)
        self._batches = asyncio.Semaphore(_CONCURRENT_BATCHES)
        self._ending: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, target: str, *, credentials: grpc.ChannelCredentials | None = None
    ) -> AsyncIterator[Self]:
        """Connect to `host:port`; with `credentials` over TLS. The channel is closed at the end."""
        if credentials is None:
            channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        else:
            channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
        async with channel:
            client = cls(channel)
            try:
                yield client
            finally:
                await client._ended()

    async def ready(self, *, timeout_seconds: float = 2.0) -> None:
        """Return when the server is ready.

        Raises:
            SomaError: it is not.
        """
        try:
            answer = await self._stub.ServerReady(triton_pb.ServerReadyRequest(), timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise failures.from_rpc("triton", error) from error
        if not answer.ready:
            raise failures.unavailable("triton", "is not ready")

    async def check(self, model: str, *, timeout_seconds: float) -> None:
        """Return when the model is loaded and ready (see `ports.Generator`)."""
        try:
            answer = await self._stub.ModelReady(
                triton_pb.ModelReadyRequest(name=model), timeout=timeout_seconds
            )
        except grpc.aio.AioRpcError as error:
            raise failures.from_rpc(model, error) from error
        if not answer.ready:
            raise failures.unavailable(model, "is not ready")

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Stream one answer over a call of its own (see `ports.Generator`)."""
        message, reader = dialects.encode(request)
        call = self._stub.ModelStreamInfer(timeout=request.timeout_seconds)
        whole = False
        try:
            await call.write(message)
            await call.done_writing()
            while (response := await call.read()) is not _EOF:
                if response.error_message:
                    raise failures.from_text(request.model, response.error_message)
                chunk = reader.read(response.infer_response)
                if chunk is None:
                    continue
                whole = bool(chunk.finish_reason)
                yield chunk
                if whole:
                    return
            reason = reader.end()
            if not reason:
                raise failures.unavailable(request.model, "broke off before its end")
            yield Chunk("", 0, reason)
        except grpc.aio.AioRpcError as error:
            raise failures.from_rpc(request.model, error) from error
        except asyncio.InvalidStateError as error:  # write after the call ended: its status says why
            raise await _why_ended(request.model, call) from error
        except ValueError as error:
            raise failures.unavailable(request.model, "answered outside of its contract") from error
        finally:
            if whole:
                self._let_end(call)
            else:
                call.cancel()

    def _let_end(self, call: Any) -> None:
        """Read an answered call to its end beside all else, which is a message away.

        Triton keeps some kilobytes for good of every call that is cancelled, even after its last message.
        """
        task = asyncio.create_task(_to_the_end(call), name="end of an answer")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _ended(self) -> None:
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def embed(
        self, texts: Sequence[str], *, model: str = "embed", timeout_seconds: float = 10.0
    ) -> list[list[float]]:
        """Return one vector of unit length for each text, in order; 32 texts go in a request."""
        made = await self.embed_counted(texts, model=model, timeout_seconds=timeout_seconds)
        return made.vectors

    async def embed_counted(
        self, texts: Sequence[str], *, model: str = "embed", timeout_seconds: float = 10.0
    ) -> Embeddings:
        """Return the vectors with the number of tokens that the model read."""
        slices = [texts[start : start + EMBED_BATCH] for start in range(0, len(texts), EMBED_BATCH)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._embed_batch(part, model, timeout_seconds)) for part in slices
                ]
        except* SomaError as failed:  # the first is the cause; its siblings were cancelled with it
            raise failed.exceptions[0] from failed
        results = [task.result() for task in tasks]
        return Embeddings(
            vectors=[vector for result in results for vector in result.vectors],
            input_tokens=sum(result.input_tokens for result in results),
        )

    async def _embed_batch(self, texts: Sequence[str], model: str, timeout: float) -> Embeddings:
        request = triton_pb.ModelInferRequest(model_name=model)
        tensors.add_text(request, "text", texts, shape=(len(texts), 1))
        try:
            async with self._batches:
                answer = await self._stub.ModelInfer(request, timeout=timeout)
            found = tensors.outputs(answer)
            return Embeddings(
                vectors=tensors.rows_of_floats(found["embedding"], rows=len(texts)),
                input_tokens=sum(tensors.all_uint32(found.get("num_tokens", b""))),
            )
        except grpc.aio.AioRpcError as error:
            raise failures.from_rpc(model, error) from error
        except (ValueError, KeyError) as error:
            raise failures.unavailable(model, "answered outside of its contract") from error


async def _to_the_end(call: Any) -> None:
    try:
        with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                while await call.read() is not _EOF:
                    pass
    finally:
        call.cancel()


async def _why_ended(model: str, call: Any) -> Exception:
    code = await call.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return failures.deadline(model)
    return failures.unavailable(model, "does not answer")
