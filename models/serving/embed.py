"""The sentence encoder for Triton's Python backend: texts in, vectors of length 1 and token counts out.

Texts past 256 tokens are embedded by their first 256, as the model was trained to be used.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.serving.cache import VectorCache
from models.serving.settings import Settings

MAX_TOKENS: Final = 256
SIZE: Final = 384
PADDING: Final = 8  # tokens; a run of its own costs about as much as eight more for one text


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Group texts by their lengths in tokens, shortest first, so that little of a run is spent on padding."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and lengths[index] <= lengths[groups[-1][0]] + PADDING:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


class TritonPythonModel:
    """What Triton calls.

    Parameters: weights (folder of model.onnx and tokenizer.json), threads, cache_entries. Vectors are
    remembered: memory has a question embedded to find passages, and `extract` again to judge them.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the encoder."""
        settings = Settings(args)
        folder = settings.path("weights")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._vectors = VectorCache(self._run, entries=settings.number("cache_entries"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = settings.number("threads")
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # an arena keeps the memory of the largest bulk for good
        self._session = ort.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Embed the texts of all requests in one run."""
        texts: list[str] = []
        parts: list[slice] = []
        errors: dict[int, str] = {}
        for index, request in enumerate(requests):
            start = len(texts)
            try:
                raw = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1)
                texts.extend([str(value, "utf-8") for value in raw])
            except UnicodeDecodeError:
                errors[index] = "input text is not UTF-8"
            parts.append(slice(start, len(texts)))
        vectors, counts = self._embed(texts)
        return [
            self._refusal(errors[index]) if index in errors else self._response(vectors[part], counts[part])
            for index, part in enumerate(parts)
        ]

    def _embed(self, texts: list[str]) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
        if not texts:
            return np.zeros((0, 0), np.float32), np.zeros((0, 1), np.uint32)
        counts = [len(entry.ids) for entry in self._tokenizer.encode_batch(texts)]
        return self._vectors(texts), np.array(counts, np.uint32)[:, None]

    def _run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        encoded = [entry.ids for entry in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(encoded), SIZE), np.float32)
        for rows in alike([len(tokens) for tokens in encoded]):
            ids = np.zeros((len(rows), len(encoded[rows[-1]])), np.int64)
            mask = np.zeros_like(ids)
            for row, index in enumerate(rows):
                ids[row, : len(encoded[index])] = encoded[index]
                mask[row, : len(encoded[index])] = 1
            vectors[rows] = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
        return vectors

    def _response(self, vectors: NDArray[np.float32], counts: NDArray[np.uint32]) -> Any:
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("embedding", vectors), pb_utils.Tensor("num_tokens", counts)]
        )

    def _refusal(self, message: str) -> Any:
        error = pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse(output_tensors=[], error=error)
