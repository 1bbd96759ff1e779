"""Tensors of KServe's v2 protocol as raw protobuf, with no array library.

BYTES elements are a little-endian uint32 length and the bytes (Triton's
`docs/protocol/extension_binary_data.md`); numbers are little-endian.
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Sequence

from tritonclient.grpc import service_pb2 as triton_pb  # type: ignore[import-untyped]  # ships no types

_LENGTH = struct.Struct("<I")
_FORMATS = {"INT32": "<i", "UINT32": "<I", "UINT64": "<Q", "FP32": "<f", "BOOL": "<?"}


def add_text(
    request: triton_pb.ModelInferRequest, name: str, values: Sequence[str], *, shape: Sequence[int]
) -> None:
    """Append an input of type BYTES."""
    request.inputs.add(name=name, datatype="BYTES", shape=shape)
    parts: list[bytes] = []
    for value in values:
        encoded = value.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    request.raw_input_contents.append(b"".join(parts))


def add_number(
    request: triton_pb.ModelInferRequest,
    name: str,
    datatype: str,
    value: float,
    *,
    shape: Sequence[int],
) -> None:
    """Append an input of one number or truth value."""
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(struct.pack(_FORMATS[datatype], value))


def outputs(response: triton_pb.ModelInferResponse) -> dict[str, bytes]:
    """Return the raw content of each output by name."""
    names = (output.name for output in response.outputs)
    return dict(zip(names, response.raw_output_contents, strict=False))


def first_text(raw: bytes | None) -> str:
    """Decode the first element of a BYTES tensor; "" where there is none.

    Raises:
        ValueError: the content is not what its length says.
    """
    if not raw:
        return ""
    (length,) = _LENGTH.unpack_from(raw)
    if _LENGTH.size + length > len(raw):
        raise ValueError("a BYTES tensor is cut short")
    return raw[_LENGTH.size : _LENGTH.size + length].decode(errors="replace")


def first_uint32(raw: bytes | None) -> int | None:
    """Decode the first element of a UINT32 tensor; None where there is none."""
    return None if not raw else int(_LENGTH.unpack_from(raw)[0])


def all_uint32(raw: bytes) -> list[int]:
    """Decode a UINT32 tensor."""
    return [int(value) for (value,) in _LENGTH.iter_unpack(raw)]


def rows_of_floats(raw: bytes, *, rows: int) -> list[list[float]]:
    """Split an FP32 tensor into rows of equal length.

    Raises:
        ValueError: the content does not divide into that many rows.
    """
    values = array.array("f")
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    width, left = divmod(len(values), rows)
    if left or not width:
        raise ValueError(f"{len(values)} numbers are not {rows} rows")
    return [values[row * width : (row + 1) * width].tolist() for row in range(rows)]
