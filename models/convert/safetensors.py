"""Reads safetensors files by memory map. Format: https://huggingface.co/docs/safetensors."""

import json
import mmap
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.convert.errors import ConversionError

FloatArray = NDArray[np.float32]

_NUMPY_TYPES: Final[dict[str, Any]] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
}
_MAX_HEADER_BYTES: Final = 100_000_000


class Tensors:
    """The tensors of a folder's safetensors files, read as float32 when asked for."""

    def __init__(self, folder: Path) -> None:
        """Map every ``*.safetensors`` of `folder`; raise `ConversionError` where none is right."""
        self._tensors: dict[str, tuple[str, NDArray[Any]]] = {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ConversionError(f"no safetensors file in {folder}")
        for file in files:
            self._map(file)

    def _map(self, file: Path) -> None:
        size = file.stat().st_size
        with file.open("rb") as handle:
            head = handle.read(8)
            length = int.from_bytes(head, "little")
            if len(head) < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
                raise ConversionError(f"{file.name} is not a safetensors file")
            view = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            header = json.loads(view[8 : 8 + length])
        except ValueError as error:
            raise ConversionError(f"{file.name} has a header that is not JSON") from error
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] not in _NUMPY_TYPES:
                continue
            start, end = entry["data_offsets"]
            kind = np.dtype(_NUMPY_TYPES[entry["dtype"]])
            if end - start != prod(entry["shape"]) * kind.itemsize or 8 + length + end > size:
                raise ConversionError(f"{file.name} is cut short at tensor {name}")
            flat = np.frombuffer(view, kind, count=prod(entry["shape"]), offset=8 + length + start)
            self._tensors[name] = (entry["dtype"], flat.reshape(entry["shape"]))

    def __contains__(self, name: str) -> bool:
        """Say whether a tensor of this name is there."""
        return name in self._tensors

    def __getitem__(self, name: str) -> FloatArray:
        """Return a tensor as float32; raise `ConversionError` where it is missing."""
        if name not in self._tensors:
            raise ConversionError(f"tensor {name} is missing")
        kind, raw = self._tensors[name]
        if kind == "BF16":  # bfloat16 is the upper half of a float32
            return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return raw.astype(np.float32)
