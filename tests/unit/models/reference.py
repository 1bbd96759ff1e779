"""Small model folders with random weights, and the same models computed plainly in NumPy."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

Matrix = NDArray[np.float64]
Weights = dict[str, NDArray[np.float32]]

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
    "eos_token_id": 0,
}
QWEN2: dict[str, Any] = {
    **LLAMA,
    "architectures": ["Qwen2ForCausalLM"],
    "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
    "tie_word_embeddings": False,
}
LLAMA3: dict[str, Any] = {
    **LLAMA,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}


def write_safetensors(file: Path, weights: Weights, *, kind: str = "F32") -> None:
    """Write float32 tensors, or the same cut to bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs: list[bytes] = []
    offset = 0
    for name, value in weights.items():
        blob = value.tobytes() if kind == "F32" else (value.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name] = {"dtype": kind, "shape": value.shape, "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def tokenizer(size: int) -> Tokenizer:
    """Return a byte tokenizer whose first ids are special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[: size - 1]
    made = Tokenizer(models.BPE(vocab={"<end>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def decoder_folder(folder: Path, config: dict[str, Any], *, kind: str = "F32") -> Weights:
    """Write a decoder with random weights; return them as the file holds them."""
    random = np.random.default_rng(7)
    hidden, heads, wide = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
    head, groups = hidden // heads, config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        for part, rows in (("q", heads * head), ("k", groups * head), ("v", groups * head)):
            shapes[f"{name}self_attn.{part}_proj.weight"] = (rows, hidden)
            if config["architectures"] == ["Qwen2ForCausalLM"]:
                shapes[f"{name}self_attn.{part}_proj.bias"] = (rows,)
        shapes[f"{name}self_attn.o_proj.weight"] = (hidden, heads * head)
        shapes[f"{name}mlp.gate_proj.weight"] = shapes[f"{name}mlp.up_proj.weight"] = (wide, hidden)
        shapes[f"{name}mlp.down_proj.weight"] = (hidden, wide)
        shapes[f"{name}input_layernorm.weight"] = (hidden,)
        shapes[f"{name}post_attention_layernorm.weight"] = (hidden,)
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    weights = {
        name: (random.normal(0, 0.15, shape) + name.endswith("norm.weight")).astype(np.float32)
        for name, shape in shapes.items()
    }
    if kind == "BF16":
        weights = {
            n: (w.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for n, w in weights.items()
        }
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", weights, kind=kind)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer(config["vocab_size"]).save(str(folder / "tokenizer.json"))
    return weights


def _rms(x: Matrix, weight: Matrix, epsilon: float) -> Matrix:
    return np.asarray(x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight)


def _inverse_frequencies(config: dict[str, Any], head: int) -> Matrix:
    theta = (config.get("rope_parameters") or config)["rope_theta"]
    inverse = np.array([theta ** (-2 * i / head) for i in range(head // 2)])
    scaling = config.get("rope_scaling")
    if not scaling:
        return inverse
    for index, frequency in enumerate(inverse):  # arXiv:2407.21783, as in the published Llama 3.1 code
        wavelength = 2 * math.pi / frequency
        old = scaling["original_max_position_embeddings"]
        if wavelength > old / scaling["low_freq_factor"]:
            inverse[index] = frequency / scaling["factor"]
        elif wavelength >= old / scaling["high_freq_factor"]:
            smooth = (old / wavelength - scaling["low_freq_factor"]) / (
                scaling["high_freq_factor"] - scaling["low_freq_factor"]
            )
            inverse[index] = (1 - smooth) * frequency / scaling["factor"] + smooth * frequency
    return inverse


def decoder_logits(weights: Weights, config: dict[str, Any], tokens: list[int]) -> Matrix:
    """Return the logits [len(tokens), vocabulary] of the whole sequence, token by token and head by head."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    head = config["hidden_size"] // heads
    angles = np.outer(np.arange(len(tokens)), _inverse_frequencies(config, head))
    cos, sin = np.cos(angles), np.sin(angles)

    def rotated(x: Matrix) -> Matrix:
        first, second = x[:, : head // 2], x[:, head // 2 :]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], 1)

    x = w["model.embed_tokens.weight"][tokens]
    mask = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        normed = _rms(x, w[name + "input_layernorm.weight"], config["rms_norm_eps"])
        q, k, v = (
            normed @ w[f"{name}self_attn.{part}_proj.weight"].T
            + w.get(f"{name}self_attn.{part}_proj.bias", 0)
            for part in "qkv"
        )
        out = np.zeros_like(q)
        for h in range(heads):
            g = h * groups // heads
            query, key = rotated(q[:, h * head : (h + 1) * head]), rotated(k[:, g * head : (g + 1) * head])
            scores = query @ key.T / math.sqrt(head) + mask
            chances = np.exp(scores - scores.max(-1, keepdims=True))
            chances /= chances.sum(-1, keepdims=True)
            out[:, h * head : (h + 1) * head] = chances @ v[:, g * head : (g + 1) * head]
        x = x + out @ w[name + "self_attn.o_proj.weight"].T
        normed = _rms(x, w[name + "post_attention_layernorm.weight"], config["rms_norm_eps"])
        gate = normed @ w[name + "mlp.gate_proj.weight"].T
        x = (
            x
            + (gate / (1 + np.exp(-gate)) * (normed @ w[name + "mlp.up_proj.weight"].T))
            @ w[name + "mlp.down_proj.weight"].T
        )
    head_weight = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return np.asarray(_rms(x, w["model.norm.weight"], config["rms_norm_eps"]) @ head_weight.T)
