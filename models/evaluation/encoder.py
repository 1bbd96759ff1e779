"""The encoder of a built tree, in process: the same graph and tokenizer that the model `embed` serves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from models.extraction.evidence import FloatArray

MAX_TOKENS = 256
BULK = 32


class Encoder:
    """Embeds texts with the weights in a tree that `models.build` made."""

    def __init__(self, tree: Path) -> None:
        """Load the encoder of `tree`."""
        folder = tree / "weights" / "minilm"
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """Return [len(texts), 384]."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # like lengths together
        bulks = [order[start : start + BULK] for start in range(0, len(order), BULK)]
        vectors = np.concatenate([self._bulk([texts[index] for index in bulk]) for bulk in bulks])
        result = np.empty_like(vectors)
        result[order] = vectors
        return result

    def _bulk(self, texts: Sequence[str]) -> FloatArray:
        encoded = [entry.ids for entry in self._tokenizer.encode_batch(list(texts))]
        longest = max(map(len, encoded))
        ids = np.zeros((len(encoded), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        vectors: FloatArray = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
        return vectors
