"""BERT-shaped sentence encoders (MiniLM) to a graph with mean pooling and L2 norm inside.

Graph: in ``input_ids`` and ``attention_mask`` INT64[B,S]; out ``embedding`` FLOAT[B,hidden] of length 1.
Sources: arXiv:1810.04805 (BERT), arXiv:1908.10084 (Sentence-BERT's mean pooling).
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from models.convert.graph import FLOAT, INT64, MICROSOFT, Graph
from models.convert.safetensors import Tensors


class _EncoderGraph:
    def __init__(self, source: Path) -> None:
        config = json.loads((source / "config.json").read_text())
        self._heads: int = config["num_attention_heads"]
        self._layers: int = config["num_hidden_layers"]
        self._hidden: int = config["hidden_size"]
        self._epsilon: float = config["layer_norm_eps"]
        self._tensors = Tensors(source)
        self.graph = Graph("encoder")

    def _weight(self, name: str) -> str:
        return self.graph.weight(name, self._tensors[name])

    def _product(self, x: str, matrix: NDArray[np.float32], name: str) -> str:
        return self.graph.linear(x, matrix, name, precision="fp32")

    def _embed(self) -> str:
        graph, t = self.graph, self._tensors
        one = graph.weight("one", np.array([1], np.int64))
        zero = graph.weight("zero", np.array([0], np.int64))
        # Every token is of segment 0, so its vector joins the positions'.
        positions = (
            t["embeddings.position_embeddings.weight"] + t["embeddings.token_type_embeddings.weight"][0]
        )
        graph.node("Shape", ["input_ids"], "length", start=1, end=2)
        graph.node("Slice", [graph.weight("positions", positions), zero, "length", zero, one], "position")
        words = graph.node("Gather", [self._weight("embeddings.word_embeddings.weight"), "input_ids"], "word")
        added = graph.node("Add", [words, "position"], "word_at_position")
        weight, bias = (self._weight(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias"))
        return graph.node("LayerNormalization", [added, weight, bias], "embedded", epsilon=self._epsilon)

    def _layer(self, layer: int, x: str) -> str:
        graph, t, prefix = self.graph, self._tensors, f"encoder.layer.{layer}."
        parts = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
        matrix = graph.weight(f"{prefix}qkv.weight", np.concatenate([t[f"{p}.weight"].T for p in parts], 1))
        bias = graph.weight(f"{prefix}qkv.bias", np.concatenate([t[f"{p}.bias"] for p in parts]))
        attended = graph.node(
            "Attention",
            [x, matrix, bias, "mask"],
            f"{prefix}attended",
            domain=MICROSOFT,
            num_heads=self._heads,
        )
        x = self._add_norm(attended, x, f"{prefix}attention.output")
        wide = self._product(x, t[f"{prefix}intermediate.dense.weight"], f"{prefix}wide")
        wide = graph.node(
            "BiasGelu",
            [wide, self._weight(f"{prefix}intermediate.dense.bias")],
            f"{prefix}gelu",
            domain=MICROSOFT,
        )
        return self._add_norm(wide, x, f"{prefix}output")

    def _add_norm(self, x: str, skip: str, prefix: str) -> str:
        y = self._product(x, self._tensors[f"{prefix}.dense.weight"], f"{prefix}.dense")
        inputs = [
            y,
            skip,
            *(self._weight(f"{prefix}.{n}") for n in ("LayerNorm.weight", "LayerNorm.bias", "dense.bias")),
        ]
        return self.graph.node(
            "SkipLayerNormalization", inputs, f"{prefix}.normed", domain=MICROSOFT, epsilon=self._epsilon
        )

    def build(self) -> Graph:
        graph = self.graph
        for name in ("input_ids", "attention_mask"):
            graph.input(name, INT64, ["B", "S"])
        graph.output("embedding", FLOAT, ["B", self._hidden])
        graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
        x = self._embed()
        for layer in range(self._layers):
            x = self._layer(layer, x)
        graph.node("Cast", ["attention_mask"], "counts", to=TensorProto.FLOAT)
        graph.node("Unsqueeze", ["counts", graph.weight("last_axis", np.array([-1], np.int64))], "counts_3d")
        graph.node("ReduceSum", [graph.node("Mul", [x, "counts_3d"], "kept"), "one"], "sum", keepdims=0)
        graph.node("ReduceSum", ["counts", "one"], "tokens", keepdims=1)
        graph.node("Div", ["sum", "tokens"], "mean")
        graph.node("LpNormalization", ["mean"], "embedding", axis=-1, p=2)
        return graph


def convert(source: Path, target: Path) -> None:
    """Write the fp32 graph of the encoder in `source` to the file `target`; raises `ConversionError`."""
    _EncoderGraph(source).build().save(target)
