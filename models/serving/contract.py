"""The request contract of Triton's vLLM backend, read and answered.

Inputs: ``text_input`` STRING[1]; optional ``stream`` BOOL[1], ``sampling_parameters`` STRING[1] (JSON),
``exclude_input_in_output``, ``return_finish_reason``, ``return_num_input_tokens``,
``return_num_output_tokens`` BOOL[1]. Outputs: ``text_output`` STRING[1], ``finish_reason`` STRING[1] ("None"
while unfinished), ``num_input_tokens`` UINT32[1], ``num_output_tokens`` UINT32[1] (of this response).
Responses of a stream are deltas; the last carries FINAL; a cancelled request ends in CANCELLED. Source:
https://github.com/triton-inference-server/vllm_backend.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import triton_python_backend_utils as pb_utils

from models.engine.errors import EngineError, InvalidRequestError, QueueFullError, StoppedError
from models.engine.results import Delta

MAX_PROMPT_BYTES: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as it was sent; `sampling` is the JSON object, not judged yet."""

    text: str
    stream: bool
    sampling: dict[str, Any]
    echo: bool
    wants_finish: bool
    wants_input_count: bool
    wants_output_count: bool

    @classmethod
    def read(cls, request: Any) -> "Call":
        """Return a request's call; raise `InvalidRequestError` for what does not follow the contract."""
        stream = _flag(request, "stream") or False
        excluded = _flag(request, "exclude_input_in_output")
        if stream and excluded is False:
            raise InvalidRequestError("exclude_input_in_output=false is not allowed when streaming")
        return cls(
            text=_text(request, "text_input") or "",
            stream=stream,
            sampling=_sampling(request),
            echo=not stream if excluded is None else not excluded,
            wants_finish=_flag(request, "return_finish_reason") or False,
            wants_input_count=_flag(request, "return_num_input_tokens") or False,
            wants_output_count=_flag(request, "return_num_output_tokens") or False,
        )


def _value(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return None
    values = tensor.as_numpy().reshape(-1)
    if len(values) != 1:
        raise InvalidRequestError(f"input {name} must hold one value")
    return values[0]


def _flag(request: Any, name: str) -> bool | None:
    value = _value(request, name)
    return None if value is None else bool(value)


def _text(request: Any, name: str) -> str | None:
    value = _value(request, name)
    if value is None:
        return None
    if len(value) > MAX_PROMPT_BYTES:
        raise InvalidRequestError(f"input {name} has {len(value)} bytes, more than {MAX_PROMPT_BYTES}")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"input {name} is not UTF-8") from error


def _sampling(request: Any) -> dict[str, Any]:
    text = _text(request, "sampling_parameters") or request.parameters() or "{}"
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("sampling_parameters is not JSON") from error
    if not isinstance(values, dict):
        raise InvalidRequestError("sampling_parameters is not a JSON object")
    return values


class Responder:
    """Answers one call. Each method is a message to Triton's process, and waits for its answer."""

    def __init__(self, sender: Any, call: Call, *, input_tokens: int) -> None:
        """Answer `call` through Triton's response sender."""
        self._sender = sender
        self._call = call
        self._input_tokens = input_tokens

    def delta(self, delta: Delta) -> None:
        """Send a delta, or the whole text of a call that does not stream; the last with FINAL."""
        call = self._call
        text = call.text + delta.text if call.echo else delta.text
        outputs = [pb_utils.Tensor("text_output", np.array([text.encode()], dtype=object))]
        if call.wants_finish:
            outputs.append(
                pb_utils.Tensor("finish_reason", np.array([str(delta.finish).encode()], dtype=object))
            )
        if call.wants_input_count:
            outputs.append(pb_utils.Tensor("num_input_tokens", np.array([self._input_tokens], np.uint32)))
        if call.wants_output_count:
            outputs.append(pb_utils.Tensor("num_output_tokens", np.array([delta.tokens], np.uint32)))
        flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if delta.finish else 0
        self._sender.send(pb_utils.InferenceResponse(outputs), flags=flags)

    def fail(self, error: EngineError) -> None:
        """Send the failure and end the call."""
        refuse(self._sender, error)

    def cancelled(self) -> bool:
        """Say whether the client went away or cancelled."""
        return bool(self._sender.is_cancelled())

    def drop(self) -> None:
        """End a cancelled call."""
        _end(self._sender, "the request was cancelled", pb_utils.TritonError.CANCELLED)


def refuse(sender: Any, error: EngineError) -> None:
    """End a call with an error whose code tells whether sending it again can help."""
    if isinstance(error, InvalidRequestError):
        code = pb_utils.TritonError.INVALID_ARG
    elif isinstance(error, QueueFullError | StoppedError):
        code = pb_utils.TritonError.UNAVAILABLE
    else:
        code = pb_utils.TritonError.INTERNAL
    _end(sender, str(error), code)


def _end(sender: Any, message: str, code: int) -> None:
    response = pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(message, code))
    sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
