"""Llama- and Qwen2-shaped weights to a decoder graph with a key-value cache.

Graph (B sequences of S new tokens, cache of P positions a sequence):
  in   ``input_ids`` INT64[B,S]; ``seqlens_k`` INT32[B] length after this call minus 1; ``total_seq`` INT32[1]
       longest length; ``last`` INT64[B] index of each row's last new token;
       ``past.{layer}.{k|v}`` FLOAT[B,KV,P,D]
  out  ``logits`` FLOAT[B,V] at ``last``; ``present.{layer}.{k|v}`` FLOAT[B,KV,P,D], may be the same memory

Sources: arXiv:2302.13971 (Llama), arXiv:2407.10671 (Qwen2), and onnxruntime's contrib operators
GroupQueryAttention, SkipSimplifiedLayerNormalization, MatMulNBits.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.convert.errors import ConversionError
from models.convert.graph import FLOAT, INT32, INT64, MICROSOFT, Graph, Precision
from models.convert.safetensors import Tensors

SUPPORTED: Final = frozenset({"LlamaForCausalLM", "Qwen2ForCausalLM", "MistralForCausalLM"})
MAX_POSITIONS: Final = 8192


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The numbers of ``config.json`` that the graph and the engine need."""

    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head: int
    vocabulary: int
    positions: int
    epsilon: float
    tied: bool
    rope: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Architecture":
        """Return a folder's architecture; raise `ConversionError` where it is not one of `SUPPORTED`."""
        try:
            config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise ConversionError(f"{folder} has no readable config.json") from error
        names = config.get("architectures") or ["none named"]
        if names[0] not in SUPPORTED:
            raise ConversionError(f"architecture {names[0]} is not one of {', '.join(sorted(SUPPORTED))}")
        if config.get("hidden_act", "silu") != "silu":
            raise ConversionError(f"activation {config['hidden_act']} is not supported, silu is")
        if config.get("use_sliding_window") or (
            names[0].startswith("Mistral") and config.get("sliding_window")
        ):
            raise ConversionError("sliding-window attention is not supported")
        try:
            return cls._of(config)
        except KeyError as error:
            raise ConversionError(f"config.json has no {error.args[0]}") from error

    @classmethod
    def _of(cls, config: dict[str, Any]) -> "Architecture":
        rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
        rope.setdefault("rope_theta", config.get("rope_theta", 10_000.0))
        heads = config["num_attention_heads"]
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=heads,
            key_value_heads=config.get("num_key_value_heads") or heads,
            head=config.get("head_dim") or config["hidden_size"] // heads,
            vocabulary=config["vocab_size"],
            positions=min(config["max_position_embeddings"], MAX_POSITIONS),
            epsilon=config["rms_norm_eps"],
            tied=bool(config.get("tie_word_embeddings")),
            rope=rope,
        )


def rotary_angles(architecture: Architecture) -> NDArray[np.float64]:
    """Return the angles [positions, head / 2], stretched as Llama 3's where the configuration says so."""
    rope = architecture.rope
    inverse = 1 / rope["rope_theta"] ** (np.arange(0, architecture.head, 2) / architecture.head)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "llama3":
        factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
        old = rope["original_max_position_embeddings"]
        wavelength = 2 * np.pi / inverse
        smooth = np.clip((old / wavelength - low) / (high - low), 0, 1)
        blended = (1 - smooth) * inverse / factor + smooth * inverse
        inverse = np.where(
            wavelength > old / low, inverse / factor, np.where(wavelength < old / high, inverse, blended)
        )
    elif kind == "linear":
        inverse = inverse / rope["factor"]
    elif kind != "default":
        raise ConversionError(f"rotary scaling {kind} is not supported")
    return np.asarray(np.outer(np.arange(architecture.positions), inverse), np.float64)


class _DecoderGraph:
    def __init__(self, architecture: Architecture, tensors: Tensors, precision: Precision) -> None:
        self.graph = Graph("decoder")
        self._a = architecture
        self._tensors = tensors
        self._precision: Precision = precision

    def build(self) -> Graph:
        graph, a = self.graph, self._a
        graph.input("input_ids", INT64, ["B", "S"])
        graph.input("seqlens_k", INT32, ["B"])
        graph.input("total_seq", INT32, [1])
        graph.input("last", INT64, ["B"])
        graph.output("logits", FLOAT, ["B", a.vocabulary])
        angles = rotary_angles(a)
        graph.weight("cos", np.cos(angles).astype(np.float32))
        graph.weight("sin", np.sin(angles).astype(np.float32))
        residual = graph.node(
            "Gather",
            [graph.weight("embedding", self._tensors["model.embed_tokens.weight"]), "input_ids"],
            "embedded",
        )
        skip = ""
        for layer in range(a.layers):
            residual, skip = self._layer(layer, residual, skip)
        hidden, _ = self._normalise(residual, skip, "model.norm.weight", "final")
        graph.node("Unsqueeze", ["last", graph.weight("axis", np.array([1], np.int64))], "last_column")
        graph.node("GatherND", [hidden, "last_column"], "last_hidden", batch_dims=1)
        self._head()
        return graph

    def _normalise(self, residual: str, skip: str, tensor: str, name: str) -> tuple[str, str]:
        """Add `skip` to the residual stream and normalise; return (normalised, new residual)."""
        weight = self.graph.weight(f"{name}.norm", self._tensors[tensor])
        if not skip:
            return self.graph.node(
                "SimplifiedLayerNormalization",
                [residual, weight],
                f"{name}.normed",
                axis=-1,
                epsilon=self._a.epsilon,
                stash_type=1,
            ), residual
        normed, _, _, added = self.graph.nodes(
            "SkipSimplifiedLayerNormalization",
            [residual, skip, weight],
            [f"{name}.normed", "", "", f"{name}.residual"],
            domain=MICROSOFT,
            epsilon=self._a.epsilon,
        )
        return normed, added

    def _linear(self, x: str, tensors: list[str], name: str) -> str:
        matrix = np.concatenate([self._tensors[f"{tensor}.weight"] for tensor in tensors])
        y = self.graph.linear(x, matrix, name, precision=self._precision)
        if f"{tensors[0]}.bias" not in self._tensors:
            return y
        bias = np.concatenate([self._tensors[f"{tensor}.bias"] for tensor in tensors])
        return self.graph.node("Add", [y, self.graph.weight(f"{name}.bias", bias)], f"{name}.biased")

    def _layer(self, layer: int, residual: str, skip: str) -> tuple[str, str]:
        graph, a, prefix, name = self.graph, self._a, f"model.layers.{layer}.", f"layer{layer}"
        normed, residual = self._normalise(
            residual, skip, f"{prefix}input_layernorm.weight", f"{name}.attention"
        )
        packed = self._linear(normed, [f"{prefix}self_attn.{part}_proj" for part in "qkv"], f"{name}.qkv")
        for part in "kv":
            graph.input(f"past.{layer}.{part}", FLOAT, ["B", a.key_value_heads, "P", a.head])
            graph.output(f"present.{layer}.{part}", FLOAT, ["B", a.key_value_heads, "P", a.head])
        attended = graph.nodes(
            "GroupQueryAttention",
            [packed, "", "", f"past.{layer}.k", f"past.{layer}.v", "seqlens_k", "total_seq", "cos", "sin"],
            [f"{name}.attended", f"present.{layer}.k", f"present.{layer}.v"],
            domain=MICROSOFT,
            num_heads=a.heads,
            kv_num_heads=a.key_value_heads,
            do_rotary=1,
            rotary_interleaved=0,
            scale=a.head**-0.5,
        )[0]
        out = self._linear(attended, [f"{prefix}self_attn.o_proj"], f"{name}.out")
        normed, residual = self._normalise(
            residual, out, f"{prefix}post_attention_layernorm.weight", f"{name}.mlp"
        )
        gate = self._linear(normed, [f"{prefix}mlp.gate_proj"], f"{name}.gate")
        up = self._linear(normed, [f"{prefix}mlp.up_proj"], f"{name}.up")
        silu = graph.node("Mul", [gate, graph.node("Sigmoid", [gate], f"{name}.sigmoid")], f"{name}.silu")
        gated = graph.node("Mul", [silu, up], f"{name}.gated")
        return residual, self._linear(gated, [f"{prefix}mlp.down_proj"], f"{name}.down")

    def _head(self) -> None:
        tied = self._a.tied or "lm_head.weight" not in self._tensors
        if tied and self._precision == "fp32":  # one copy of the table serves both ends
            self.graph.node("Gemm", ["last_hidden", "embedding"], "logits", transB=1)
            return
        matrix = self._tensors["model.embed_tokens.weight" if tied else "lm_head.weight"]
        self.graph.node(
            "Identity",
            [self.graph.linear("last_hidden", matrix, "head", precision=self._precision)],
            "logits",
        )


def convert(source: Path, target: Path, *, precision: Precision = "int8") -> None:
    """Write ``model.onnx``, ``config.json`` and ``tokenizer.json`` of `source` to the folder `target`.

    Raises `ConversionError` for what is not a supported folder. `target` is made where it is missing.
    """
    architecture = Architecture.read(source)
    if not (source / "tokenizer.json").is_file():
        raise ConversionError(f"{source} has no tokenizer.json")
    graph = _DecoderGraph(architecture, Tensors(source), precision).build()
    target.mkdir(parents=True, exist_ok=True)
    graph.save(target / "model.onnx")
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
