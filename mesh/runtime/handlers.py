"""Runs the interceptor chain around handlers.

`grpc.aio` interceptors see neither the context nor the certificate, so handlers
are wrapped instead, once, when they are registered. A wrapper of a streaming
method writes the responses itself, in the place of grpc.aio's own loop: the
chain costs nothing per streamed message.
"""

import asyncio
import inspect
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from mesh.runtime.context import CallContext, enter_call
from mesh.runtime.contract import MethodContract
from mesh.runtime.errors import InvalidArgument, SomaError, Unavailable
from mesh.runtime.hooks import (
    Finish,
    Handler,
    Inspect,
    Interceptor,
    Outcome,
    ServicerContext,
    metadata_of,
)
from mesh.runtime.inflight import InFlight
from mesh.runtime.interceptors.errors import translate
from mesh.runtime.status import DETAILS, LONGEST_MESSAGE, details_of, reason_name, shortened
from mesh.runtime.trace import TraceContext

_NO_TRACE: Final = TraceContext("", "")
RETRY_AFTER: Final = "retry-after"
_OK: Final = grpc.StatusCode.OK
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


class _Unreadable:
    """Stands for a request whose bytes are not the message that the contract names."""


UNREADABLE: Final = _Unreadable()


def reading(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return a deserializer that never raises: grpc.aio would answer UNKNOWN with the driver's text."""

    def read(content: bytes) -> Any:
        try:
            return deserialize(content)
        except DecodeError:
            return UNREADABLE

    return read


def _not_readable() -> InvalidArgument:
    return InvalidArgument(
        "INVALID_ARGUMENT", "the request is not a valid message of the contract; text must be UTF-8"
    )


class Chain:
    """The chain of one method."""

    def __init__(
        self, contract: MethodContract, interceptors: Sequence[Interceptor], inflight: InFlight
    ) -> None:
        """Bind every interceptor to the method."""
        hooks = [interceptor.bind(contract) for interceptor in interceptors]
        self._path = contract.path
        self._admits = tuple(hook.admit for hook in hooks if hook.admit is not None)
        self._inspects = tuple(hook.inspect for hook in hooks if hook.inspect is not None)
        # Last in, first out: the span closes after the line about it is written.
        self._finishes = tuple(hook.finish for hook in reversed(hooks) if hook.finish is not None)
        self._inflight = inflight

    def wrap(self, handler: Handler, *, raw: bool = False) -> Handler:
        """Return the handler with the chain around it; a raw one returns serialized bytes."""
        codecs = {
            "request_deserializer": reading(handler.request_deserializer),
            "response_serializer": None if raw else handler.response_serializer,
        }
        if handler.request_streaming and handler.response_streaming:
            run = self._streaming(handler.stream_stream, many=True)
            return grpc.stream_stream_rpc_method_handler(run, **codecs)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._unary(handler.stream_unary, many=True), **codecs
            )
        if handler.response_streaming:
            run = self._streaming(handler.unary_stream, many=False)
            return grpc.unary_stream_rpc_method_handler(run, **codecs)
        return grpc.unary_unary_rpc_method_handler(self._unary(handler.unary_unary, many=False), **codecs)

    def _unary(self, behaviour: Callable[..., Any], *, many: bool) -> Callable[..., Any]:
        path, finishes, inflight = self._path, self._finishes, self._inflight
        admitted = self._admission(many=many)

        async def run(request: Any, context: ServicerContext) -> Any:
            start = time.perf_counter()
            call = CallContext(method=path, request_id="", trace=_NO_TRACE)
            enter_call(call)
            inflight.calls.add(call)
            ended = _WELL
            try:
                return await behaviour(admitted(call, request, context), context)
            except (Exception, asyncio.CancelledError) as error:
                ended = _judged(call, context, error, inflight)
                if ended.told is not None:
                    await _abort(context, call, ended.told)
                raise
            finally:
                inflight.calls.discard(call)
                _finish(finishes, call, ended, start)

        return run

    def _streaming(self, behaviour: Callable[..., Any], *, many: bool) -> Callable[..., Any]:
        path, finishes, inflight = self._path, self._finishes, self._inflight
        admitted = self._admission(many=many)
        generates = inspect.isasyncgenfunction(behaviour)

        async def run(request: Any, context: ServicerContext) -> None:
            start = time.perf_counter()
            call = CallContext(method=path, request_id="", trace=_NO_TRACE)
            enter_call(call)
            inflight.calls.add(call)
            inflight.open_stream()
            ended = _WELL
            try:
                request = admitted(call, request, context)
                if not generates:
                    await behaviour(request, context)
                    return
                # Not in a function of its own: every message would wake it, too.
                responses, write = behaviour(request, context), context.write
                try:
                    async for response in responses:
                        await write(response)
                finally:
                    await responses.aclose()
            except (Exception, asyncio.CancelledError) as error:
                ended = _judged(call, context, error, inflight)
                if ended.told is not None:
                    await _abort(context, call, ended.told)
                raise
            finally:
                inflight.calls.discard(call)
                inflight.close_stream()
                _finish(finishes, call, ended, start)

        return run

    def _admission(self, *, many: bool) -> Callable[[CallContext, Any, ServicerContext], Any]:
        """Return what runs every check before the handler, and gives the request that it may see."""
        admits, inspects = self._admits, self._inspects

        def admitted(call: CallContext, request: Any, context: ServicerContext) -> Any:
            metadata = metadata_of(context)
            for admit in admits:
                admit(call, metadata, context)
            if many:
                return _inspected(request, call, inspects)
            if request is UNREADABLE:
                raise _not_readable()
            for inspect_one in inspects:
                inspect_one(call, request)
            return request

        return admitted


class _Ended(NamedTuple):
    """How a call ended, and the failure that the caller is told of; None where it was told, or is gone."""

    code: grpc.StatusCode
    reason: str
    told: SomaError | None


_WELL: Final = _Ended(_OK, "", None)


def _judged(call: CallContext, context: ServicerContext, error: BaseException, inflight: InFlight) -> _Ended:
    if isinstance(error, grpc.aio.AbortError):
        code = _BY_NUMBER.get(_number(context.code()), grpc.StatusCode.UNKNOWN)
        return _Ended(code, "", None)
    cancelled = isinstance(error, asyncio.CancelledError)
    cut = cancelled and inflight.cut_off()
    failure = _stopping() if cut else translate(call, error)
    return _Ended(failure.code, reason_name(failure.reason), None if cancelled and not cut else failure)


def _stopping() -> Unavailable:
    return Unavailable("DEPENDENCY_UNAVAILABLE", "this process is stopping", retry_after=0.1)


async def _inspected(
    requests: AsyncIterator[Any], call: CallContext, inspects: tuple[Inspect, ...]
) -> AsyncIterator[Any]:
    async for request in requests:
        if request is UNREADABLE:
            raise _not_readable()
        for inspect_one in inspects:
            inspect_one(call, request)
        yield request


async def _abort(context: ServicerContext, call: CallContext, failure: SomaError) -> None:
    trailers: tuple[tuple[str, str | bytes], ...] = (
        (DETAILS, details_of(failure, request_id=call.request_id)),
    )
    if failure.retry_after is not None:
        # What RetryInfo says, for HTTP clients: at the edge this becomes the header (RFC 9110, 10.2.3).
        trailers += ((RETRY_AFTER, str(math.ceil(failure.retry_after))),)
    await context.abort(failure.code, shortened(failure.message, LONGEST_MESSAGE), trailers)


def _finish(
    finishes: tuple[Finish, ...],
    call: CallContext,
    ended: _Ended,
    start: float,
) -> None:
    outcome = Outcome(ended.code, time.perf_counter() - start, ended.reason)
    for finish in finishes:
        finish(call, outcome)


def _number(code: Any) -> int:
    return code.value[0] if isinstance(code, grpc.StatusCode) else int(code or 0)
