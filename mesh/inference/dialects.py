"""The three ways in which Triton's language-model backends want a request.

- vLLM's backend: JSON sampling parameters, deltas, a finish reason with each response, the
  string "None" while unfinished, token counts.
- TensorRT-LLM's ensemble: tensors of shape [1, 1], deltas, neither finish reason nor counts.
- TensorRT-LLM's LLM API: tensors of shape [1] by the name of each sampling parameter; the text of
  each response is *all text so far*, so the delta is taken here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from tritonclient.grpc import service_pb2 as triton_pb  # type: ignore[import-untyped]  # ships no types

from mesh.inference import tensors
from mesh.inference.ports import Chunk, Dialect, GenerationRequest, Usage

_UNFINISHED = ("", "None", "none")
_NAMES = {"stop": "stop", "length": "length", "end_id": "stop", "stop_words": "stop"}


class Reader(Protocol):
    """Turns the responses of one answer into chunks."""

    def read(self, response: triton_pb.ModelInferResponse) -> Chunk | None:
        """Return the chunk of a response, or None where it carries nothing."""
        ...

    def end(self) -> str:
        """Return the finish reason of a stream that ended without telling one; "" where that is a fault."""
        ...


def encode(request: GenerationRequest) -> tuple[triton_pb.ModelInferRequest, Reader]:
    """Return the tensors of a request and the reader of its responses."""
    message = triton_pb.ModelInferRequest(model_name=request.model)
    if request.dialect is Dialect.TRTLLM:
        _encode_trtllm(message, request)
        return message, _DeltaReader(request.sampling.max_tokens)
    if request.dialect is Dialect.TRTLLM_LLMAPI:
        _encode_llmapi(message, request)
        return message, _WholeTextReader()
    _encode_vllm(message, request)
    return message, _VllmReader()


def _encode_vllm(message: triton_pb.ModelInferRequest, request: GenerationRequest) -> None:
    sampling = request.sampling
    parameters: dict[str, object] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
    }
    if sampling.min_tokens:
        parameters["min_tokens"] = sampling.min_tokens
    if sampling.top_p is not None:
        parameters["top_p"] = sampling.top_p
    if sampling.seed is not None:
        parameters["seed"] = sampling.seed
    if sampling.stop:
        parameters["stop"] = list(sampling.stop)
    if sampling.stream_interval_ms:
        parameters["stream_interval_ms"] = sampling.stream_interval_ms
    one = (1,)
    tensors.add_text(message, "text_input", [request.prompt], shape=one)
    tensors.add_text(message, "sampling_parameters", [json.dumps(parameters)], shape=one)
    tensors.add_number(message, "stream", "BOOL", True, shape=one)
    tensors.add_number(message, "exclude_input_in_output", "BOOL", True, shape=one)
    for name in ("return_finish_reason", "return_num_input_tokens", "return_num_output_tokens"):
        tensors.add_number(message, name, "BOOL", True, shape=one)


def _encode_trtllm(message: triton_pb.ModelInferRequest, request: GenerationRequest) -> None:
    sampling, one = request.sampling, (1, 1)
    tensors.add_text(message, "text_input", [request.prompt], shape=one)
    tensors.add_number(message, "max_tokens", "INT32", sampling.max_tokens, shape=one)
    if sampling.temperature > 0:
        tensors.add_number(message, "temperature", "FP32", sampling.temperature, shape=one)
        if sampling.top_p is not None:
            tensors.add_number(message, "top_p", "FP32", sampling.top_p, shape=one)
    else:  # a temperature of 0 is refused there; the best token alone is greedy
        tensors.add_number(message, "top_k", "INT32", 1, shape=one)
    if sampling.seed is not None:
        tensors.add_number(message, "seed", "UINT64", sampling.seed, shape=one)
    if sampling.stop:
        tensors.add_text(message, "stop_words", sampling.stop, shape=(1, len(sampling.stop)))
    tensors.add_number(message, "stream", "BOOL", True, shape=one)
    tensors.add_number(message, "exclude_input_in_output", "BOOL", True, shape=one)


def _encode_llmapi(message: triton_pb.ModelInferRequest, request: GenerationRequest) -> None:
    sampling, one = request.sampling, (1,)
    tensors.add_text(message, "text_input", [request.prompt], shape=one)
    tensors.add_number(message, "sampling_param_max_tokens", "INT32", sampling.max_tokens, shape=one)
    if sampling.temperature > 0:
        tensors.add_number(message, "sampling_param_temperature", "FP32", sampling.temperature, shape=one)
        if sampling.top_p is not None:
            tensors.add_number(message, "sampling_param_top_p", "FP32", sampling.top_p, shape=one)
    else:
        tensors.add_number(message, "sampling_param_top_k", "INT32", 1, shape=one)
    if sampling.seed is not None:
        tensors.add_number(message, "sampling_param_seed", "UINT64", sampling.seed, shape=one)
    if sampling.stop:
        tensors.add_text(message, "sampling_param_stop", sampling.stop, shape=(len(sampling.stop),))
    tensors.add_number(message, "streaming", "BOOL", True, shape=one)
    tensors.add_number(message, "return_finish_reason", "BOOL", True, shape=one)


@dataclass(slots=True)
class _VllmReader:
    """Deltas with counts and a finish reason."""

    produced: int = 0
    taken: int | None = None

    def read(self, response: triton_pb.ModelInferResponse) -> Chunk | None:
        found = tensors.outputs(response)
        if "text_output" not in found:
            return None
        text = tensors.first_text(found["text_output"])
        counted = tensors.first_uint32(found.get("num_output_tokens"))
        self.taken = tensors.first_uint32(found.get("num_input_tokens")) or self.taken
        tokens = int(bool(text)) if counted is None else counted
        self.produced += tokens
        reason = tensors.first_text(found.get("finish_reason"))
        if reason in _UNFINISHED:
            return Chunk(text, tokens)
        usage = None if self.taken is None else Usage(self.taken, self.produced)
        return Chunk(text, tokens, _NAMES.get(reason, reason), usage)

    def end(self) -> str:
        return ""


@dataclass(slots=True)
class _DeltaReader:
    """Deltas alone: a response is counted as a token, the end is read off the bound."""

    bound: int
    produced: int = 0

    def read(self, response: triton_pb.ModelInferResponse) -> Chunk | None:
        text = tensors.first_text(tensors.outputs(response).get("text_output"))
        self.produced += 1
        return Chunk(text, 1) if text else None

    def end(self) -> str:
        return "length" if self.produced >= self.bound else "stop"


@dataclass(slots=True)
class _WholeTextReader:
    """All text so far in each response: what is new is the delta."""

    so_far: str = ""

    def read(self, response: triton_pb.ModelInferResponse) -> Chunk | None:
        found = tensors.outputs(response)
        if "text_output" not in found:
            return None
        text = tensors.first_text(found["text_output"])
        if not text.startswith(self.so_far):
            raise ValueError("the model took back what it had said")
        delta, self.so_far = text[len(self.so_far) :], text
        reason = tensors.first_text(found.get("finish_reason"))
        if reason in _UNFINISHED:
            return Chunk(delta, int(bool(delta)))
        return Chunk(delta, int(bool(delta)), _NAMES.get(reason, reason))

    def end(self) -> str:
        return ""
