"""A bounded memory of vectors by text, the least recently used forgotten first."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class VectorCache:
    """Wraps an embedding function; texts are known by their digest, so that long ones cost no memory."""

    def __init__(self, embed: Callable[[Sequence[str]], FloatArray], *, entries: int) -> None:
        """Remember up to `entries` vectors of `embed`."""
        self._embed = embed
        self._entries = entries
        self._vectors: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """Return [len(texts), size], computing only what is not remembered."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        known: dict[bytes, FloatArray] = {}
        with self._lock:
            for key in keys:
                if key in self._vectors:
                    self._vectors.move_to_end(key)
                    known[key] = self._vectors[key]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            fresh = dict(zip(missing, self._embed(list(missing.values())), strict=True))
            known |= fresh
            with self._lock:
                self._vectors |= fresh
                while len(self._vectors) > self._entries:
                    self._vectors.popitem(last=False)
        return np.stack([known[key] for key in keys])
