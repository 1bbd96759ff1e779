"""The tensors of each dialect, and how answers are read from them."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as triton_pb  # type: ignore[import-untyped]  # ships no types

from mesh.inference import dialects, tensors
from mesh.inference.ports import Chunk, Dialect, GenerationRequest, Sampling, Usage


def request(dialect: Dialect, **sampling: Any) -> GenerationRequest:
    return GenerationRequest(
        model="m", prompt="Hé", dialect=dialect, sampling=Sampling(**{"max_tokens": 7, **sampling})
    )


def sent(dialect: Dialect, **sampling: Any) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    message, _ = dialects.encode(request(dialect, **sampling))
    assert message.model_name == "m"
    return {
        each.name: (each.datatype, tuple(each.shape), raw)
        for each, raw in zip(message.inputs, message.raw_input_contents, strict=True)
    }


def text(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)


def response(**outputs: Any) -> Any:
    made = triton_pb.ModelInferResponse(model_name="m")
    for name, value in outputs.items():
        made.outputs.add(name=name, datatype="BYTES" if isinstance(value, str) else "UINT32", shape=[1])
        made.raw_output_contents.append(text(value) if isinstance(value, str) else struct.pack("<I", value))
    return made


def test_vllm_takes_sampling_as_json() -> None:
    found = sent(Dialect.VLLM, temperature=0.5, top_p=0.9, seed=3, stop=("a", "b"), stream_interval_ms=30)
    assert found["text_input"] == ("BYTES", (1,), text("Hé"))
    datatype, shape, raw = found["sampling_parameters"]
    assert (datatype, shape) == ("BYTES", (1,))
    assert json.loads(raw[4:]) == {
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "stop": ["a", "b"],
        "stream_interval_ms": 30,
    }
    for flag in ("stream", "exclude_input_in_output", "return_finish_reason", "return_num_output_tokens"):
        assert found[flag] == ("BOOL", (1,), b"\x01")


def test_vllm_leaves_out_what_was_not_asked() -> None:
    assert json.loads(sent(Dialect.VLLM)["sampling_parameters"][2][4:]) == {
        "max_tokens": 7,
        "temperature": 0.0,
    }


def test_trtllm_takes_a_tensor_for_each_parameter() -> None:
    found = sent(Dialect.TRTLLM, temperature=0.5, top_p=0.25, seed=3, stop=("a", "bc"))
    assert found["text_input"] == ("BYTES", (1, 1), text("Hé"))
    assert found["max_tokens"] == ("INT32", (1, 1), struct.pack("<i", 7))
    assert found["temperature"] == ("FP32", (1, 1), struct.pack("<f", 0.5))
    assert found["top_p"] == ("FP32", (1, 1), struct.pack("<f", 0.25))
    assert found["seed"] == ("UINT64", (1, 1), struct.pack("<Q", 3))
    assert found["stop_words"] == ("BYTES", (1, 2), text("a", "bc"))
    assert "top_k" not in found


@pytest.mark.parametrize(
    ("dialect", "top_k"), [(Dialect.TRTLLM, "top_k"), (Dialect.TRTLLM_LLMAPI, "sampling_param_top_k")]
)
def test_tensorrt_is_greedy_by_its_best_token(dialect: Dialect, top_k: str) -> None:
    found = sent(dialect)
    assert found[top_k][2] == struct.pack("<i", 1)
    assert not any("temperature" in name for name in found)


def test_the_llm_api_names_each_sampling_parameter() -> None:
    found = sent(Dialect.TRTLLM_LLMAPI, temperature=1.0, top_p=0.5, seed=9, stop=("x",))
    assert found["text_input"] == ("BYTES", (1,), text("Hé"))
    assert found["sampling_param_max_tokens"] == ("INT32", (1,), struct.pack("<i", 7))
    assert found["sampling_param_seed"] == ("UINT64", (1,), struct.pack("<Q", 9))
    assert found["sampling_param_stop"] == ("BYTES", (1,), text("x"))
    assert found["streaming"] == ("BOOL", (1,), b"\x01")


def test_vllm_answers_in_deltas_with_counts() -> None:
    _, reader = dialects.encode(request(Dialect.VLLM))
    first = response(text_output="Hel", finish_reason="None", num_input_tokens=5, num_output_tokens=2)
    last = response(text_output="lo", finish_reason="stop", num_output_tokens=1)
    assert reader.read(response()) is None
    assert reader.read(first) == Chunk("Hel", 2)
    assert reader.read(last) == Chunk("lo", 1, "stop", Usage(5, 3))
    assert reader.end() == "", "an end without a reason is a fault"


def test_trtllm_answers_in_deltas_alone() -> None:
    _, reader = dialects.encode(request(Dialect.TRTLLM))
    assert [reader.read(response(text_output=each)) for each in ("a", "", "b")] == [
        Chunk("a", 1),
        None,
        Chunk("b", 1),
    ]
    assert reader.end() == "stop"
    for _ in range(4):
        reader.read(response(text_output="x"))
    assert reader.end() == "length"


@given(st.lists(st.text(max_size=5), min_size=1, max_size=10))
def test_the_llm_api_answers_with_all_text_so_far(parts: list[str]) -> None:
    _, reader = dialects.encode(request(Dialect.TRTLLM_LLMAPI))
    so_far, joined = "", ""
    for index, part in enumerate(parts):
        so_far += part
        reason = "length" if index == len(parts) - 1 else "None"
        chunk = reader.read(response(text_output=so_far, finish_reason=reason))
        assert chunk is not None
        joined += chunk.text
        assert chunk.finish_reason == ("length" if index == len(parts) - 1 else "")
    assert joined == "".join(parts)


def test_the_llm_api_may_not_take_back_what_it_said() -> None:
    _, reader = dialects.encode(request(Dialect.TRTLLM_LLMAPI))
    reader.read(response(text_output="abc", finish_reason="None"))
    with pytest.raises(ValueError, match="took back"):
        reader.read(response(text_output="abX", finish_reason="None"))


@given(st.text())
def test_texts_come_back_as_they_went(value: str) -> None:
    assert tensors.first_text(text(value)) == value


def test_a_text_that_is_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        tensors.first_text(text("hello")[:-1])


def test_rows_of_numbers_divide_evenly_or_are_refused() -> None:
    raw = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    assert tensors.rows_of_floats(raw, rows=2) == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    for rows in (4, 7):
        with pytest.raises(ValueError, match="rows"):
            tensors.rows_of_floats(raw, rows=rows)
