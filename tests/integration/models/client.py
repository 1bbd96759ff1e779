"""The vLLM contract as a client speaks it, over Triton's own protocol and nothing of ours."""

import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb  # type: ignore[import-untyped]  # ships no types
from tritonclient.grpc import service_pb2_grpc as rpc


@dataclass
class Answer:
    """What came back for one generation."""

    texts: list[str] = field(default_factory=list)
    finishes: list[str] = field(default_factory=list)
    input_tokens: list[int] = field(default_factory=list)
    output_tokens: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def add(self, response: Any, after: float) -> None:
        values = dict(zip((o.name for o in response.outputs), response.raw_output_contents, strict=True))
        self.times.append(after)
        self.texts.append(values["text_output"][4:].decode())
        if "finish_reason" in values:
            self.finishes.append(values["finish_reason"][4:].decode())
        if "num_input_tokens" in values:
            self.input_tokens.append(struct.unpack("<I", values["num_input_tokens"])[0])
        if "num_output_tokens" in values:
            self.output_tokens.append(struct.unpack("<I", values["num_output_tokens"])[0])


def _bytes(name: str, value: str) -> tuple[Any, bytes]:
    raw = value.encode()
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype="BYTES", shape=[1]), struct.pack(
        "<I", len(raw)
    ) + raw


def _bool(name: str, value: bool) -> tuple[Any, bytes]:  # a tensor's value
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype="BOOL", shape=[1]), bytes([value])


def request(model: str, text: str, *, flags: dict[str, bool], sampling: str) -> Any:
    """Return the request message of one generation."""
    parts = [_bytes("text_input", text), _bytes("sampling_parameters", sampling)]
    parts += [_bool(name, value) for name, value in flags.items()]
    return pb.ModelInferRequest(
        model_name=model, inputs=[t for t, _ in parts], raw_input_contents=[r for _, r in parts]
    )


class Client:
    """Calls one Triton."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.GRPCInferenceServiceStub(channel)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: str) -> AsyncIterator[Self]:
        async with grpc.aio.insecure_channel(address) as channel:
            yield cls(channel)

    def call(
        self,
        model: str,
        text: str,
        *,
        stream: bool = True,
        echo: bool | None = None,
        raw: str | None = None,
        **sampling: Any,
    ) -> Any:
        """Start one generation; the call can be read and cancelled."""
        flags = {"stream": stream, "return_finish_reason": True, "return_num_input_tokens": True}
        flags |= {"return_num_output_tokens": True} | (
            {} if echo is None else {"exclude_input_in_output": not echo}
        )
        message = request(model, text, flags=flags, sampling=json.dumps(sampling) if raw is None else raw)
        call = self._stub.ModelStreamInfer(timeout=60)
        return _Started(call, message)

    async def generate(self, model: str, text: str, **options: Any) -> Answer:
        """Run one generation to its end."""
        started = self.call(model, text, **options)
        await started.send()
        return await started.rest()

    async def embed(self, *texts: str) -> NDArray[np.float32]:
        """Return the vectors of some texts."""
        raws = [text.encode() for text in texts]
        tensor = pb.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[len(texts), 1])
        content = b"".join(struct.pack("<I", len(raw)) + raw for raw in raws)
        message = pb.ModelInferRequest(model_name="embed", inputs=[tensor], raw_input_contents=[content])
        answer = await self._stub.ModelInfer(message, timeout=30)
        names = [output.name for output in answer.outputs]
        raw = answer.raw_output_contents[names.index("embedding")]
        return np.frombuffer(raw, np.float32).reshape(len(texts), -1)


class _Started:
    """One running generation."""

    def __init__(self, call: Any, message: Any) -> None:
        self._call, self._message, self._answer = call, message, Answer()
        self._start = time.perf_counter()

    async def send(self) -> None:
        await self._call.write(self._message)
        await self._call.done_writing()

    async def next(self) -> bool:
        """Read one response; False at the end or at an error."""
        response = await self._call.read()
        if response is grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs have forgotten it
            return False
        if response.error_message:
            self._answer.error = response.error_message
            return False
        if response.infer_response.outputs:
            self._answer.add(response.infer_response, time.perf_counter() - self._start)
        return True

    async def rest(self) -> Answer:
        """Read to the end."""
        while await self.next():
            pass
        return self._answer

    def cancel(self) -> None:
        """Go away."""
        self._call.cancel()
