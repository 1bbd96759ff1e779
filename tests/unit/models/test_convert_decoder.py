"""The decoder's graph computes what the architecture says, cache and all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import profiles
from models.convert import __main__ as served
from models.convert import decoder
from models.convert.errors import ConversionError
from models.engine.decoder import Decoder
from tests.unit.models import reference

TOKENS = [3, 141, 59, 26, 5, 35, 89, 79, 32, 38, 46, 26, 43, 38, 32, 79]


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (reference.LLAMA, "F32"),
        (reference.LLAMA, "BF16"),
        (reference.QWEN2, "F32"),
        (reference.LLAMA3, "F32"),
    ],
    ids=["llama", "llama-bfloat16", "qwen2", "llama3-rope"],
)
def test_prefill_and_steps_agree_with_the_reference(
    tmp_path: Path, config: dict[str, Any], kind: str
) -> None:
    weights = reference.decoder_folder(tmp_path / "in", config, kind=kind)
    decoder.convert(tmp_path / "in", tmp_path / "out", precision="fp32")
    engine = Decoder(tmp_path / "out", slots=3, window=64, threads=1)
    expected = reference.decoder_logits(weights, config, TOKENS)
    got = [engine.prefill(0, TOKENS[:10]).copy()]
    got += [engine.step([TOKENS[n - 1]], [n])[0].copy() for n in range(11, len(TOKENS) + 1)]
    assert np.abs(np.array(got) - expected[9:]).max() < 2e-4
    assert np.abs(expected).max() > 1  # a model that says nothing would agree with anything


def test_int8_stays_near_the_reference(tmp_path: Path) -> None:
    weights = reference.decoder_folder(tmp_path / "in", reference.LLAMA)
    decoder.convert(tmp_path / "in", tmp_path / "out", precision="int8")
    got = Decoder(tmp_path / "out", slots=1, window=64, threads=1).prefill(0, TOKENS)
    expected = reference.decoder_logits(weights, reference.LLAMA, TOKENS)[-1]
    assert np.corrcoef(got, expected)[0, 1] > 0.999


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "architecture MambaForCausalLM"),
        ({"hidden_act": "gelu"}, "activation gelu"),
        ({"use_sliding_window": True}, "sliding-window"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rotary scaling yarn"),
        ({"num_hidden_layers": 4}, "tensor model.layers.3"),
        ({"rms_norm_eps": None}, "no rms_norm_eps"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    reference.decoder_folder(tmp_path, reference.LLAMA)
    config = {k: v for k, v in {**reference.LLAMA, **change}.items() if v is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConversionError, match=said):
        decoder.convert(tmp_path, tmp_path / "out")


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    reference.decoder_folder(tmp_path, reference.LLAMA)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConversionError, match="cut short"):
        decoder.convert(tmp_path, tmp_path / "out")


def test_a_served_model_is_written_whole(tmp_path: Path) -> None:
    reference.decoder_folder(tmp_path / "tiny", reference.LLAMA)
    out = tmp_path / "repository"
    options: dict[str, Any] = {"precision": "int8", "library": tmp_path, "window": 4096, "slots": 4}
    made = served.convert(tmp_path / "tiny", out, name="tiny", **options)
    assert made == out / "tiny"
    text = (made / "config.pbtxt").read_text()
    assert 'name: "tiny"' in text
    assert 'key: "window" value { string_value: "128" }' in text
    assert (made / "1" / "weights" / "model.onnx").is_file()
    profile = profiles.load_profiles(out)[0]
    assert (profile.name, profile.model, profile.context_window) == ("tiny", "tiny", 128)
    assert profile.tokenizer.is_file()
    with pytest.raises(ConversionError, match="is there already"):
        served.convert(tmp_path / "tiny", out, name="tiny", **options)
    (tmp_path / "tiny" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConversionError, match="not a safetensors file"):
        served.convert(tmp_path / "tiny", out, name="other", **options)
    assert [folder.name for folder in out.iterdir()] == ["tiny"]
