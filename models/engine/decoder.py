"""One decoder graph and the key-value cache of its slots.

The cache is allocated once, [slots, heads, window, head] a layer, and bound by address: the graph reads and
writes it in place. Memory of slots that were never used is not resident.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_FLOAT_BYTES: Final = 4
READ_AT_ONCE: Final = 128
"""Tokens of a prompt in one run. Attention pays for a run's length times all before it, masked or not, so
parts cost 27 % less at 600 tokens and 40 % less at 900, to the same bits."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes that the cache and the logits have, and which tokens end a text."""

    layers: int
    key_value_heads: int
    head: int
    vocabulary: int
    positions: int
    end_tokens: frozenset[int]

    @classmethod
    def read(cls, folder: Path) -> "Shape":
        """Return the shape that ``config.json`` (and ``generation_config.json`` where there is one) tells."""
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        ends = config.get("eos_token_id")
        generation = folder / "generation_config.json"
        if generation.is_file():
            ends = json.loads(generation.read_text()).get("eos_token_id", ends)
        heads = config["num_attention_heads"]
        return cls(
            layers=config["num_hidden_layers"],
            key_value_heads=config.get("num_key_value_heads") or heads,
            head=config.get("head_dim") or config["hidden_size"] // heads,
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            end_tokens=frozenset([] if ends is None else [ends] if isinstance(ends, int) else ends),
        )


class Decoder:
    """Runs the graph over neighbouring slots; knows nothing of requests.

    A prompt is read by `threads` where there is no other work: two make it a fifth sooner for a third more
    processor. A step of a small model is too short to be worth dividing: two threads make it no sooner and
    burn twice the processor at the barriers between them, so it may have fewer (`step_threads`), at the
    price of the weights being there twice.
    """

    def __init__(
        self,
        folder: Path,
        *,
        slots: int,
        window: int,
        threads: int,
        step_threads: int | None = None,
        read_at_once: int = READ_AT_ONCE,
    ) -> None:
        """Load ``model.onnx`` of `folder` with `slots` caches of `window` tokens each."""
        self.shape: Final = Shape.read(folder)
        self.slots: Final = slots
        self.window: Final = min(window, self.shape.positions)
        self._read_at_once = read_at_once
        self._reading = _session(folder, threads=threads)
        same = step_threads in (None, threads)
        self._stepping = self._reading if same else _session(folder, threads=step_threads or threads)
        size = (slots, self.shape.key_value_heads, self.window, self.shape.head)
        self._cache = [
            (f"{layer}.{part}", np.zeros(size, np.float32))
            for layer in range(self.shape.layers)
            for part in "kv"
        ]
        self._stride = int(np.prod(size[1:])) * _FLOAT_BYTES
        self._logits = np.zeros((slots, self.shape.vocabulary), np.float32)

    def prefill(self, slot: int, tokens: list[int], *, loaded: bool = False) -> NDArray[np.float32]:
        """Write the cache of `slot` from its start; return the logits [vocabulary] after the last token.

        A `loaded` machine has no idle core for a second thread: what steps reads, too, to the same bits.
        """
        session = self._stepping if loaded else self._reading
        for start in range(0, len(tokens), self._read_at_once):
            part = tokens[start : start + self._read_at_once]
            ids, last = np.asarray([part], np.int64), np.array([len(part) - 1], np.int64)
            logits = self._run(session, slot, ids, [start + len(part)], last)
        return np.asarray(logits[0])

    def step(self, tokens: list[int], lengths: list[int]) -> NDArray[np.float32]:
        """Append a token to each of the first slots, to the new `lengths`; return logits [n, vocabulary]."""
        ids = np.asarray(tokens, np.int64)[:, None]
        return self._run(self._stepping, 0, ids, lengths, np.zeros(len(tokens), np.int64))

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of slot `source` to slot `target`."""
        for _, cache in self._cache:
            cache[target, :, :length] = cache[source, :, :length]

    def _run(
        self,
        session: ort.InferenceSession,
        slot: int,
        ids: NDArray[np.int64],
        lengths: list[int],
        last: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        count = len(ids)
        binding = session.io_binding()
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": ids,
            "seqlens_k": np.asarray(lengths, np.int32) - np.int32(1),
            "total_seq": np.array([max(lengths)], np.int32),
            "last": last,
        }
        for name, value in inputs.items():
            binding.bind_input(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        size = (count, self.shape.key_value_heads, self.window, self.shape.head)
        for name, cache in self._cache:
            address = cache.ctypes.data + slot * self._stride
            binding.bind_input(f"past.{name}", "cpu", 0, np.float32, size, address)
            binding.bind_output(f"present.{name}", "cpu", 0, np.float32, size, address)
        logits = self._logits[:count]
        binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        session.run_with_iobinding(binding)
        return logits


def _session(folder: Path, *, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
